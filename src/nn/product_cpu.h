// Products of float32 matrices on the CPU where the BLAS of libtorch falls short: where one side is thin, as with LoRA's rank,
// and all products on AMD processors, on which that BLAS is slower. Each element is summed by one thread
// in the order of the inner index, so its bits depend neither on the number of threads nor on the rows beside it.
#pragma once
#include <ATen/core/Tensor.h>

namespace dmoerm::nn::cpu {

/// Whether product() takes these matrices: float32, on the CPU, a number of columns that fills vector registers.
/// @param a  [m, k], any strides; @param b  [k, n], adjacent columns or adjacent rows; @param c  [m, n], adjacent columns
bool takes_product(const at::Tensor& c, const at::Tensor& a, const at::Tensor& b);
/// Whether this processor multiplies faster with product() than with the BLAS even if no side is thin.
bool multiplies_itself();

/// c = scale a b, or c += scale a b.
void product(const at::Tensor& c, const at::Tensor& a, const at::Tensor& b, float scale, bool add);
/// c = a b + addend, with the bits that product() gives if it adds to a copy of the addend.
/// @param addend  [m, n], or [n] for every row; float32, on the CPU, apart from c in memory
void product_and_sum(const at::Tensor& c, const at::Tensor& a, const at::Tensor& b, const at::Tensor& addend);

/// Whether the next two take MLPs of this width: one whose halves fill strips.
bool takes_swiglu(std::int64_t intermediate);
/// gate_up = x w (+ bias), and its swiglu() while those numbers are in a cache; with the bits of product() and swiglu().
/// @param gate_up_T2F  receives the product, [T, 2 F], and act_TF [T, F]; both float32 and contiguous
/// @param w  [D, 2 F], a product() can take it; @param bias  [2 F], or undefined
void product_and_swiglu(const at::Tensor& gate_up_T2F, const at::Tensor& act_TF, const at::Tensor& x_TD, const at::Tensor& w,
                        const at::Tensor& bias);
/// The gradient in gate_up of swiglu() before a product with w', from that in the product's result; with the bits of product()
/// and swiglu_backward().
/// @param dgate_up_T2F  receives it; like gate_up_T2F, what product_and_swiglu() made; @param w  [D, F]
void product_and_swiglu_backward(const at::Tensor& dgate_up_T2F, const at::Tensor& dy_TD, const at::Tensor& w,
                                 const at::Tensor& gate_up_T2F);

}  // namespace dmoerm::nn::cpu
