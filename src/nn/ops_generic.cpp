#include "nn/ops_generic.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/bitwise_right_shift.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/silu.h>

#include "nn/dropout_hash.h"

namespace dmoerm::nn::generic {
namespace {

/// x ^= x >> bits, with a logical shift. @param width  bits of an element
void xor_shift(const at::Tensor& x, std::int64_t bits, std::int64_t width) {
  x.bitwise_xor_(at::bitwise_right_shift(x, bits).bitwise_and_((std::int64_t{1} << (width - bits)) - 1));
}

/// row_key() of some rows, computed on their device as mix64() does; int64 wraps like uint64. int32, [rows, 1].
at::Tensor row_keys(std::int64_t rows, std::uint64_t key, std::int64_t first_row, at::Device device) {
  const auto wrapped = [](std::uint64_t u) { return static_cast<std::int64_t>(u); };
  const at::Tensor x = at::arange(rows, at::TensorOptions().dtype(at::kLong).device(device)) +
                       wrapped(key + static_cast<std::uint64_t>(first_row) + 0x9e3779b97f4a7c15ULL);
  xor_shift(x, 30, 64);
  x.mul_(wrapped(0xbf58476d1ce4e5b9ULL));
  xor_shift(x, 27, 64);
  x.mul_(wrapped(0x94d049bb133111ebULL));
  xor_shift(x, 31, 64);
  return x.to(at::kInt).unsqueeze(1);
}

/// The elements that cpu::dropout() drops, computed by ATen operations on the rows' device; int32 wraps like uint32.
at::Tensor dropped(std::int64_t rows, std::int64_t columns, std::uint32_t threshold, std::uint64_t key, std::int64_t first_row,
                   at::Device device) {
  const auto wrapped = [](std::uint32_t u) { return static_cast<std::int64_t>(static_cast<std::int32_t>(u)); };
  const at::Tensor columns_C = at::arange(columns, at::TensorOptions().dtype(at::kInt).device(device)) * wrapped(kGolden);
  const at::Tensor h = row_keys(rows, key, first_row, device) + columns_C;
  xor_shift(h, 16, 32);
  h.mul_(wrapped(kMix1));
  xor_shift(h, 13, 32);
  h.mul_(wrapped(kMix2));
  xor_shift(h, 16, 32);
  return h.bitwise_xor_(wrapped(0x80000000U)) < wrapped(threshold ^ 0x80000000U);  // unsigned order
}

}  // namespace

at::Tensor product_in_float(const at::Tensor& a, const at::Tensor& b) { return at::matmul(a.to(at::kFloat), b.to(at::kFloat)); }

at::Tensor rms_norm(const at::Tensor& x_TD, const at::Tensor& w_D, double eps, at::Tensor* rstd_T) {
  const at::Tensor x = x_TD.to(at::kFloat);
  const at::Tensor rstd = at::rsqrt((x * x).mean(-1, true) + eps);
  if (rstd_T != nullptr) *rstd_T = rstd.squeeze(-1);
  return (x * rstd).to(x_TD.scalar_type()) * w_D;
}

at::Tensor rms_norm_backward(const at::Tensor& dy_TD, const at::Tensor& x_TD, const at::Tensor& w_D, const at::Tensor& rstd_T,
                             const at::Tensor& residual_TD) {
  const at::Tensor x = x_TD.to(at::kFloat), dn = dy_TD.to(at::kFloat) * w_D, rstd = rstd_T.unsqueeze(-1);
  at::Tensor dx = rstd * (dn - x * (rstd * rstd) * (dn * x).mean(-1, true));
  if (residual_TD.defined()) dx += residual_TD;
  return dx.to(x_TD.scalar_type());
}

at::Tensor swiglu(const at::Tensor& gate_up_T2F) {
  const std::int64_t f = gate_up_T2F.size(1) / 2;
  return at::silu(gate_up_T2F.narrow(1, 0, f)) * gate_up_T2F.narrow(1, f, f);
}

at::Tensor swiglu_backward(const at::Tensor& dact_TF, const at::Tensor& gate_up_T2F, at::Tensor* act_TF) {
  const std::int64_t f = gate_up_T2F.size(1) / 2;
  const at::Tensor gate = gate_up_T2F.narrow(1, 0, f).to(at::kFloat), up = gate_up_T2F.narrow(1, f, f);
  const at::Tensor s = at::sigmoid(gate), silu = gate * s;
  if (act_TF != nullptr) *act_TF = (silu * up).to(gate_up_T2F.scalar_type());
  return at::cat({dact_TF * up * s * (1 + gate * (1 - s)), dact_TF * silu}, 1).to(gate_up_T2F.scalar_type());
}

void rotate(at::Tensor x_TD, const at::Tensor& cos_TE, const at::Tensor& sin_TE, bool inverse) {
  const std::int64_t rows = x_TD.size(0), half = cos_TE.size(1), heads = x_TD.size(1) / (2 * half);
  const at::Tensor x = x_TD.view({rows, heads, 2, half});
  const auto wide = [](const at::Tensor& half_of_x) { return half_of_x.to(at::kFloat, false, /*copy=*/true); };
  const at::Tensor a = wide(x.select(2, 0)), b = wide(x.select(2, 1));
  const at::Tensor c = cos_TE.unsqueeze(1), s = (inverse ? -sin_TE : sin_TE).unsqueeze(1);
  x.select(2, 0).copy_(a * c - b * s);
  x.select(2, 1).copy_(b * c + a * s);
}

at::Tensor dropout(const at::Tensor& x_TD, double p, std::uint64_t key, std::int64_t first_row) {
  const auto keep = static_cast<float>(1.0 / (1.0 - p));
  return (x_TD * keep).masked_fill_(dropped(x_TD.size(0), x_TD.size(1), dropout_threshold(p), key, first_row, x_TD.device()), 0);
}

}  // namespace dmoerm::nn::generic
