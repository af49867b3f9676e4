#include "kernels/kernels.h"

namespace dmoerm::kernels {

bool for_gpu() {
#ifdef __CUDACC__
  return true;
#else
  return false;
#endif
}

}  // namespace dmoerm::kernels
