// The passes of ops.h as loops over float32 on the CPU that the compiler vectorises.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace dmoerm::nn::cpu {

/// Whether the loops, here and in attention_cpu.h, accept a matrix: float32, on the CPU, with adjacent columns.
bool takes(const at::Tensor& x);

/// Like the functions of ops.h, for matrices that takes() accepts. The gradients that come in are contiguous too.
at::Tensor rms_norm(const at::Tensor& x_TD, const at::Tensor& w_D, double eps, at::Tensor* rstd_T);
at::Tensor rms_norm_backward(const at::Tensor& dy_TD, const at::Tensor& x_TD, const at::Tensor& w_D, const at::Tensor& rstd_T,
                             const at::Tensor& residual_TD);
at::Tensor swiglu(const at::Tensor& gate_up_T2F);
at::Tensor swiglu_backward(const at::Tensor& dact_TF, const at::Tensor& gate_up_T2F, at::Tensor* act_TF);
void rotate(at::Tensor x_TD, const at::Tensor& cos_TE, const at::Tensor& sin_TE, bool inverse);
at::Tensor dropout(const at::Tensor& x_TD, double p, std::uint64_t key, std::int64_t first_row);

}  // namespace dmoerm::nn::cpu
