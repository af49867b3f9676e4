#include "nn/ops_cuda.h"

#include <ATen/ops/bmm.h>
#include <ATen/ops/mm.h>

namespace dmoerm::nn::cuda {

at::Tensor product_in_float(const at::Tensor& a, const at::Tensor& b) {
  return a.dim() == 2 ? at::mm(a, b, at::kFloat) : at::bmm(a, b, at::kFloat);
}

}  // namespace dmoerm::nn::cuda
