// The operations of ops.h for which CUDA has something better than ops_generic.h.
#pragma once
#include <ATen/core/Tensor.h>

namespace dmoerm::nn::cuda {

/// Like nn::product_in_float(), for factors on a GPU that are narrower than float32: the product alone writes float32.
at::Tensor product_in_float(const at::Tensor& a, const at::Tensor& b);

}  // namespace dmoerm::nn::cuda
