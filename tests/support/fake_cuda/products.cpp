// cuBLAS and cuBLASLt: products are counted by shape. Those in float64 and of complex numbers are missing.
#include <cublasLt.h>
#include <cublas_v2.h>

#include <cstdlib>
#include <cstring>
#include <string>

#include "support/fake_cuda/state.h"

namespace {

using dmoerm::test::fake_cuda::note_product;

const char* name_of(cudaDataType type) {
  return type == CUDA_R_16BF ? "bf16" : type == CUDA_R_32F ? "f32" : type == CUDA_R_16F ? "f16" : "other";
}

cublasStatus_t product(const char* way, cudaDataType in, cudaDataType out, long m, long n, long k, long batch) {
  const auto text = [](long number) { return std::to_string(number); };
  std::string shape =
      std::string(way) + " " + name_of(in) + " to " + name_of(out) + " " + text(m) + " x " + text(n) + " x " + text(k);
  if (batch > 1) shape += " times " + text(batch);
  note_product(shape,
               2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k) * static_cast<double>(batch));
  return CUBLAS_STATUS_SUCCESS;
}

template <class Handle>
cublasStatus_t make(Handle* handle) {
  *handle = static_cast<Handle>(std::calloc(1, 256));
  return CUBLAS_STATUS_SUCCESS;
}

struct Layout {
  cudaDataType type;
  std::uint64_t rows, columns;
  int batch;
};
const Layout& of(cublasLtMatrixLayout_t layout) { return *reinterpret_cast<const Layout*>(layout); }

}  // namespace

extern "C" {

cublasStatus_t cublasCreate_v2(cublasHandle_t* handle) { return make(handle); }
cublasStatus_t cublasDestroy_v2(cublasHandle_t) { return CUBLAS_STATUS_SUCCESS; }
cublasStatus_t cublasSetStream_v2(cublasHandle_t, cudaStream_t) { return CUBLAS_STATUS_SUCCESS; }
cublasStatus_t cublasSetWorkspace_v2(cublasHandle_t, void*, size_t) { return CUBLAS_STATUS_SUCCESS; }
cublasStatus_t cublasSetMathMode(cublasHandle_t, cublasMath_t) { return CUBLAS_STATUS_SUCCESS; }
cublasStatus_t cublasGetMathMode(cublasHandle_t, cublasMath_t* mode) {
  *mode = CUBLAS_DEFAULT_MATH;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetPointerMode_v2(cublasHandle_t, cublasPointerMode_t) { return CUBLAS_STATUS_SUCCESS; }
cublasStatus_t cublasGetPointerMode_v2(cublasHandle_t, cublasPointerMode_t* mode) {
  *mode = CUBLAS_POINTER_MODE_HOST;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetSmCountTarget(cublasHandle_t, int) { return CUBLAS_STATUS_SUCCESS; }

cublasStatus_t cublasGemmEx(cublasHandle_t, cublasOperation_t, cublasOperation_t, int m, int n, int k, const void*, const void*,
                            cudaDataType in, int, const void*, cudaDataType, int, const void*, void*, cudaDataType out, int,
                            cublasComputeType_t, cublasGemmAlgo_t) {
  return product("gemm", in, out, m, n, k, 1);
}
cublasStatus_t cublasGemmStridedBatchedEx(cublasHandle_t, cublasOperation_t, cublasOperation_t, int m, int n, int k, const void*,
                                          const void*, cudaDataType in, int, long long, const void*, cudaDataType, int, long long,
                                          const void*, void*, cudaDataType out, int, long long, int batch, cublasComputeType_t,
                                          cublasGemmAlgo_t) {
  return product("gemm", in, out, m, n, k, batch);
}
cublasStatus_t cublasSgemm_v2(cublasHandle_t, cublasOperation_t, cublasOperation_t, int m, int n, int k, const float*,
                              const float*, int, const float*, int, const float*, float*, int) {
  return product("gemm", CUDA_R_32F, CUDA_R_32F, m, n, k, 1);
}
cublasStatus_t cublasSgemmStridedBatched(cublasHandle_t, cublasOperation_t, cublasOperation_t, int m, int n, int k, const float*,
                                         const float*, int, long long, const float*, int, long long, const float*, float*, int,
                                         long long, int batch) {
  return product("gemm", CUDA_R_32F, CUDA_R_32F, m, n, k, batch);
}
cublasStatus_t cublasSgemv_v2(cublasHandle_t, cublasOperation_t, int m, int n, const float*, const float*, int, const float*, int,
                              const float*, float*, int) {
  return product("gemv", CUDA_R_32F, CUDA_R_32F, m, n, 1, 1);
}
cublasStatus_t cublasSdot_v2(cublasHandle_t, int n, const float*, int, const float*, int, float* result) {
  if (!dmoerm::test::fake_cuda::on_device(result)) *result = 0;
  return product("dot", CUDA_R_32F, CUDA_R_32F, 1, 1, n, 1);
}
cublasStatus_t cublasDotEx(cublasHandle_t, int n, const void*, cudaDataType in, int, const void*, cudaDataType, int, void*,
                           cudaDataType out, cudaDataType) {
  return product("dot", in, out, 1, 1, n, 1);
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* description, cublasComputeType_t, cudaDataType_t) {
  return make(description);
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t description) {
  std::free(description);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t, cublasLtMatmulDescAttributes_t, const void*, size_t) {
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* layout, cudaDataType type, uint64_t rows, uint64_t columns,
                                          int64_t) {
  *layout = reinterpret_cast<cublasLtMatrixLayout_t>(new Layout{type, rows, columns, 1});
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
  delete reinterpret_cast<Layout*>(layout);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t layout, cublasLtMatrixLayoutAttribute_t attribute,
                                                const void* value, size_t) {
  if (attribute == CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT) std::memcpy(&reinterpret_cast<Layout*>(layout)->batch, value, sizeof(int));
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* preference) { return make(preference); }
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
  std::free(preference);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t, cublasLtMatmulPreferenceAttributes_t, const void*,
                                                    size_t) {
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t, cublasLtMatrixLayout_t,
                                              cublasLtMatrixLayout_t, cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,
                                              cublasLtMatmulPreference_t, int, cublasLtMatmulHeuristicResult_t* results,
                                              int* found) {
  std::memset(results, 0, sizeof *results);
  results->state = CUBLAS_STATUS_SUCCESS;
  *found = 1;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t, const void*, const void*, cublasLtMatrixLayout_t a,
                              const void*, cublasLtMatrixLayout_t, const void*, const void*, cublasLtMatrixLayout_t, void*,
                              cublasLtMatrixLayout_t d, const cublasLtMatmulAlgo_t*, void*, size_t, cudaStream_t) {
  const Layout &in = of(a), &out = of(d);
  return product("gemm with epilogue", in.type, out.type, static_cast<long>(out.rows), static_cast<long>(out.columns),
                 static_cast<long>(in.rows == out.rows ? in.columns : in.rows), out.batch);
}

}  // extern "C"
