// The driver's functions that libtorch looks up. Their signatures hold only the arguments that are used.
#include "support/fake_cuda/state.h"

extern "C" {

int cuInit() { return 0; }
int cuCtxGetCurrent() { return 0; }
int cuCtxSetCurrent() { return 0; }
int cuDeviceGet() { return 0; }
int cuDeviceGetAttribute() { return 0; }
int cuDevicePrimaryCtxRetain() { return 0; }
int cuDevicePrimaryCtxGetState(int, unsigned* flags, int* active) {
  *flags = 0;
  *active = 1;
  return 0;
}
int cuDeviceGetCount(int* count) {
  *count = 1;
  return 0;
}
int cuDriverGetVersion(int* version) {
  *version = 13000;
  return 0;
}
int cuGetErrorString(int, const char** text) {
  *text = "an error of the counting runtime";
  return 0;
}
int cuPointerGetAttribute() { return 0; }
int cuTensorMapEncodeTiled() { return 0; }
int cuFuncGetAttribute(int* value, int attribute, void*) {
  *value = attribute == 0 ? 1024 : 0;
  return 0;
}
int cuFuncSetAttribute() { return 0; }
int cuLaunchKernel(const void* function, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void* stream) {
  dmoerm::test::fake_cuda::note_kernel(function, stream);
  return 0;
}
int cuModuleLoadData(void** module) {
  static int loaded;
  *module = &loaded;
  return 0;
}
int cuModuleGetFunction(void** function) {
  static int found;
  *function = &found;
  return 0;
}

}  // extern "C"
