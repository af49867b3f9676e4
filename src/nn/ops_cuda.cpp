#include "nn/ops_cuda.h"

#include <ATen/ops/bmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/mm.h>
#include <c10/core/DeviceGuard.h>

#include <algorithm>
#include <numeric>

#include "kernels/kernels.h"
#include "nn/device.h"
#include "nn/dropout_hash.h"

namespace dmoerm::nn::cuda {
namespace {

/// The stream in which libtorch works on a tensor's device, which is the thread's current one while the object lives: a kernel
/// starts on the current device, whatever its stream.
class StreamOf {
 public:
  explicit StreamOf(const at::Tensor& x) {
    if (!x.is_cuda()) return;  // in tests, where the kernels are emulated
    guard_.reset_device(x.device());
    stream_ = static_cast<kernels::Stream>(current_stream(x.device()));
  }
  operator kernels::Stream() const { return stream_; }  // NOLINT(google-explicit-constructor): stands for the stream in a call

 private:
  c10::OptionalDeviceGuard guard_;
  kernels::Stream stream_ = nullptr;
};

/// The address of a tensor's elements; null for an undefined one.
kernels::Bfloat16* address(const at::Tensor& x) {
  return x.defined() ? reinterpret_cast<kernels::Bfloat16*>(x.data_ptr<at::BFloat16>()) : nullptr;
}

bool narrow_on_gpu(const at::Tensor& x) {
  return kernels::for_gpu() && x.is_cuda() && x.scalar_type() == at::kBFloat16 && computes_in_bfloat16(x.device());
}

kernels::Dropping dropping(double p, std::uint64_t key, std::int64_t first_row) {
  return {dropout_threshold(p), static_cast<float>(1.0 / (1.0 - p)), key, first_row};
}

int width_of(const at::Tensor& x) { return static_cast<int>(x.size(1)); }

}  // namespace

at::Tensor product_in_float(const at::Tensor& a, const at::Tensor& b) {
  return a.dim() == 2 ? at::mm(a, b, at::kFloat) : at::bmm(a, b, at::kFloat);
}

bool takes(std::initializer_list<at::Tensor> matrices) {
  return std::ranges::all_of(matrices,
                             [](const at::Tensor& x) { return !x.defined() || (narrow_on_gpu(x) && x.is_contiguous()); });
}

bool takes_norm(std::initializer_list<at::Tensor> matrices) {
  return takes(matrices) && matrices.begin()->size(1) <= kernels::kNormWidthMax;
}

bool takes_gradients(const std::array<Qkv, 2>& parts, const Qkv& d) {
  const auto sink = [](const at::Tensor& x) { return narrow_on_gpu(x) && x.stride(1) == 1; };
  return takes({parts[0].q, parts[0].k_TC, parts[0].v_TC, parts[1].q, parts[1].k_TC, parts[1].v_TC}) && sink(d.q) &&
         sink(d.k_TC) && sink(d.v_TC);
}

bool takes_heads(const at::Tensor& x, const at::Tensor& cos_TE, const at::Tensor& sin_TE) {
  return narrow_on_gpu(x) && x.stride(1) == 1 && cos_TE.is_contiguous() && sin_TE.is_contiguous() &&
         cos_TE.scalar_type() == at::kFloat;
}

at::Tensor rms_norm(const at::Tensor& x_TD, const at::Tensor& w_D, double eps, at::Tensor* rstd_T) {
  at::Tensor y_TD = at::empty_like(x_TD);
  if (rstd_T != nullptr) *rstd_T = at::empty({x_TD.size(0)}, x_TD.options().dtype(at::kFloat));
  kernels::rms_norm(address(y_TD), nullptr, rstd_T != nullptr ? rstd_T->data_ptr<float>() : nullptr, address(x_TD), nullptr,
                    address(w_D), x_TD.size(0), width_of(x_TD), static_cast<float>(eps), StreamOf(x_TD));
  return y_TD;
}

at::Tensor rms_norm_of_sum(const at::Tensor& x_TD, const at::Tensor& r_TD, const at::Tensor& w_D, double eps, at::Tensor* sum_TD,
                           at::Tensor* rstd_T) {
  at::Tensor y_TD = at::empty_like(x_TD);
  *sum_TD = at::empty_like(x_TD);
  *rstd_T = at::empty({x_TD.size(0)}, x_TD.options().dtype(at::kFloat));
  kernels::rms_norm(address(y_TD), address(*sum_TD), rstd_T->data_ptr<float>(), address(x_TD), address(r_TD), address(w_D),
                    x_TD.size(0), width_of(x_TD), static_cast<float>(eps), StreamOf(x_TD));
  return y_TD;
}

at::Tensor rms_norm_backward(const at::Tensor& dy_TD, const at::Tensor& x_TD, const at::Tensor& w_D, const at::Tensor& rstd_T,
                             const at::Tensor& residual_TD) {
  at::Tensor dx_TD = at::empty_like(x_TD);
  kernels::rms_norm_backward(address(dx_TD), address(dy_TD), address(x_TD), address(w_D), rstd_T.const_data_ptr<float>(),
                             address(residual_TD), x_TD.size(0), width_of(x_TD), StreamOf(x_TD));
  return dx_TD;
}

at::Tensor swiglu(const at::Tensor& gate_up_T2F) {
  at::Tensor act_TF = at::empty({gate_up_T2F.size(0), gate_up_T2F.size(1) / 2}, gate_up_T2F.options());
  kernels::swiglu(address(act_TF), address(gate_up_T2F), act_TF.size(0), width_of(act_TF), StreamOf(gate_up_T2F));
  return act_TF;
}

at::Tensor swiglu_backward(const at::Tensor& dact_TF, const at::Tensor& gate_up_T2F, at::Tensor* act_TF) {
  at::Tensor dgate_up_T2F = at::empty_like(gate_up_T2F);
  if (act_TF != nullptr) *act_TF = at::empty_like(dact_TF);
  kernels::swiglu_backward(address(dgate_up_T2F), act_TF != nullptr ? address(*act_TF) : nullptr, address(dact_TF),
                           address(gate_up_T2F), dact_TF.size(0), width_of(dact_TF), StreamOf(dact_TF));
  return dgate_up_T2F;
}

void rotate(at::Tensor x_TD, const at::Tensor& cos_TE, const at::Tensor& sin_TE, bool inverse) {
  const int head_dim = 2 * width_of(cos_TE);
  kernels::rotate({address(x_TD), x_TD.stride(0), width_of(x_TD) / head_dim},
                  {cos_TE.const_data_ptr<float>(), sin_TE.const_data_ptr<float>()}, inverse, x_TD.size(0), head_dim,
                  StreamOf(x_TD));
}

at::Tensor dropout(const at::Tensor& x_TD, double p, std::uint64_t key, std::int64_t first_row) {
  at::Tensor y_TD = at::empty_like(x_TD);
  kernels::dropout(address(y_TD), address(x_TD), dropping(p, key, first_row), false, x_TD.size(0), width_of(x_TD),
                   StreamOf(x_TD));
  return y_TD;
}

void add_dropout(at::Tensor sum_TD, const at::Tensor& x_TD, double p, std::uint64_t key, std::int64_t first_row) {
  kernels::dropout(address(sum_TD), address(x_TD), dropping(p, key, first_row), true, x_TD.size(0), width_of(x_TD),
                   StreamOf(x_TD));
}

Attended merge_halves(const Attended& own, const Attended& prefix) {
  Attended merged{at::empty_like(own.out), at::empty_like(own.lse_HT)};
  const auto heads = static_cast<int>(own.lse_HT.size(0));
  const auto half = [](const Attended& a) -> kernels::Half { return {address(a.out), a.lse_HT.const_data_ptr<float>()}; };
  kernels::merge_halves(address(merged.out), merged.lse_HT.data_ptr<float>(), half(own), half(prefix), own.out.size(0), heads,
                        width_of(own.out) / heads, StreamOf(own.out));
  return merged;
}

void combine_gradients(const std::array<Qkv, 2>& parts, const Turns& q, const Turns& k, const Qkv& d) {
  // Without tables nothing depends on where a head ends: any even width that divides all does.
  const int head_dim = k.cos.defined() ? 2 * width_of(k.cos) : std::gcd(width_of(d.q), width_of(d.k_TC));
  const auto part = [&](const at::Tensor Qkv::*member, const Turns& turns) -> kernels::HeadGradients {
    const at::Tensor& sum = d.*member;
    return {.sum = {address(sum), sum.stride(0), width_of(sum) / head_dim},
            .own = address(parts[0].*member),
            .prefix = address(parts[1].*member),
            .turns = {turns.cos.defined() ? turns.cos.const_data_ptr<float>() : nullptr,
                      turns.sin.defined() ? turns.sin.const_data_ptr<float>() : nullptr},
            .rows = sum.size(0)};
  };
  kernels::combine_gradients({part(&Qkv::q, q), part(&Qkv::k_TC, k), part(&Qkv::v_TC, {})}, head_dim, StreamOf(d.k_TC));
}

}  // namespace dmoerm::nn::cuda
