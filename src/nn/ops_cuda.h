// The passes of ops.h by the kernels of kernels/, each in one pass over memory, for bfloat16 on a GPU.
#pragma once
#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <initializer_list>

#include "nn/attention_tensors.h"

namespace dmoerm::nn::cuda {

/// Like nn::product_in_float(), for factors in bfloat16 on a GPU that computes in it. It is libtorch's and needs no kernel.
at::Tensor product_in_float(const at::Tensor& a, const at::Tensor& b);

/// Whether the functions below accept these matrices: the kernels were compiled by nvcc, and all are contiguous bfloat16 on a
/// GPU. Undefined ones do not count.
bool takes(std::initializer_list<at::Tensor> matrices);
/// The same for norms, which have a widest row. @param matrices  the first is normed
bool takes_norm(std::initializer_list<at::Tensor> matrices);
/// The same for rotate(), which takes a part of a matrix's columns too.
bool takes_heads(const at::Tensor& x, const at::Tensor& cos_TE, const at::Tensor& sin_TE);

/// The same for combine_gradients(), whose sums lie in parts of the columns of such a matrix. @param d  its heads are those of
/// parts
bool takes_gradients(const std::array<Qkv, 2>& parts, const Qkv& d);

/// Like the functions of ops.h.
at::Tensor rms_norm(const at::Tensor& x_TD, const at::Tensor& w_D, double eps, at::Tensor* rstd_T);
at::Tensor rms_norm_of_sum(const at::Tensor& x_TD, const at::Tensor& r_TD, const at::Tensor& w_D, double eps, at::Tensor* sum_TD,
                           at::Tensor* rstd_T);
at::Tensor rms_norm_backward(const at::Tensor& dy_TD, const at::Tensor& x_TD, const at::Tensor& w_D, const at::Tensor& rstd_T,
                             const at::Tensor& residual_TD);
at::Tensor swiglu(const at::Tensor& gate_up_T2F);
at::Tensor swiglu_backward(const at::Tensor& dact_TF, const at::Tensor& gate_up_T2F, at::Tensor* act_TF);
void rotate(at::Tensor x_TD, const at::Tensor& cos_TE, const at::Tensor& sin_TE, bool inverse);
at::Tensor dropout(const at::Tensor& x_TD, double p, std::uint64_t key, std::int64_t first_row);
void add_dropout(at::Tensor sum_TD, const at::Tensor& x_TD, double p, std::uint64_t key, std::int64_t first_row);

/// Like the functions of attention_parts.h.
Attended merge_halves(const Attended& own, const Attended& prefix);
void combine_gradients(const std::array<Qkv, 2>& parts, const Turns& q, const Turns& k, const Qkv& d);

}  // namespace dmoerm::nn::cuda
