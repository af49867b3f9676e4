// The CUDA path of nn/ops.h on the CPU, with emulated kernels: pointers, shapes and strides arrive where they should. Compared
// with the generic path.
#include "nn/ops_cuda.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <limits>

#include "kernels/kernels.h"
#include "nn/attention_parts.h"
#include "nn/ops.h"
#include "nn/ops_generic.h"

namespace dmoerm::nn {
namespace {

at::Tensor random_rows(std::int64_t rows, std::int64_t width) { return at::randn({rows, width}).to(at::kBFloat16); }

/// Both are rounded to bfloat16, the generic path more than once on its way.
void expect_close(const at::Tensor& got, const at::Tensor& want, const char* what) {
  ASSERT_EQ(got.sizes(), want.sizes()) << what;
  EXPECT_EQ(got.scalar_type(), want.scalar_type()) << what;
  const double gap = (got.to(at::kDouble) - want.to(at::kDouble)).norm().item<double>();
  EXPECT_LT(gap, 8e-3 * want.to(at::kDouble).norm().item<double>()) << what;
}

class OpsOnEmulatedKernels : public testing::TestWithParam<std::int64_t> {
 protected:
  void SetUp() override { at::manual_seed(GetParam()); }
  const std::int64_t width = GetParam(), rows = 5;
};

TEST_P(OpsOnEmulatedKernels, Norms) {
  const at::Tensor x = random_rows(rows, width), dy = random_rows(rows, width), past = random_rows(rows, width);
  const at::Tensor w = at::randn({width}).to(at::kBFloat16);
  at::Tensor rstd, rstd_ref;
  expect_close(cuda::rms_norm(x, w, 1e-5, &rstd), generic::rms_norm(x, w, 1e-5, &rstd_ref), "norm");
  expect_close(rstd, rstd_ref, "rstd");
  expect_close(cuda::rms_norm(x, w, 1e-5, nullptr), generic::rms_norm(x, w, 1e-5, nullptr), "norm alone");
  for (const at::Tensor& residual : {at::Tensor(), past}) {
    expect_close(cuda::rms_norm_backward(dy, x, w, rstd, residual), generic::rms_norm_backward(dy, x, w, rstd, residual),
                 "gradient of the norm");
  }
}

TEST_P(OpsOnEmulatedKernels, Swiglu) {
  const at::Tensor gate_up = random_rows(rows, 2 * width), dact = random_rows(rows, width);
  expect_close(cuda::swiglu(gate_up), generic::swiglu(gate_up), "swiglu");
  at::Tensor act, act_ref;
  expect_close(cuda::swiglu_backward(dact, gate_up, &act), generic::swiglu_backward(dact, gate_up, &act_ref), "gradient");
  expect_close(act, act_ref, "activation with the gradient");
  expect_close(cuda::swiglu_backward(dact, gate_up, nullptr), generic::swiglu_backward(dact, gate_up, nullptr), "gradient alone");
}

TEST_P(OpsOnEmulatedKernels, RotatesAPartOfTheColumns) {
  constexpr std::int64_t kHeads = 3;
  const at::Tensor cos = at::randn({rows, width}), sin = at::randn({rows, width});
  const at::Tensor all = random_rows(rows, (kHeads + 2) * 2 * width);
  for (const bool inverse : {false, true}) {
    const at::Tensor got = all.clone(), want = all.clone();
    cuda::rotate(got.narrow(1, 2 * width, kHeads * 2 * width), cos, sin, inverse);
    generic::rotate(want.narrow(1, 2 * width, kHeads * 2 * width), cos, sin, inverse);
    expect_close(got, want, "rotated");
  }
}

TEST_P(OpsOnEmulatedKernels, Dropout) {
  const at::Tensor x = random_rows(rows, width), sum = random_rows(rows, width), want = generic::dropout(x, 0.3, 42, 5);
  EXPECT_TRUE(cuda::dropout(x, 0.3, 42, 5).equal(want));
  const at::Tensor got = sum.clone();
  cuda::add_dropout(got, x, 0.3, 42, 5);
  expect_close(got, sum + want, "added");
}

TEST_P(OpsOnEmulatedKernels, NormOfASum) {
  const at::Tensor x = random_rows(rows, width), r = random_rows(rows, width), w = at::randn({width}).to(at::kBFloat16);
  at::Tensor sum, rstd, rstd_ref;
  const at::Tensor y = cuda::rms_norm_of_sum(x, r, w, 1e-5, &sum, &rstd);
  EXPECT_TRUE(sum.equal(x + r));
  at::Tensor sum_ref;
  expect_close(y, rms_norm_of_sum(x, r, w, 1e-5, &sum_ref, &rstd_ref), "norm of a sum");
  EXPECT_TRUE(sum.equal(sum_ref));
  expect_close(rstd, rstd_ref, "rstd of a sum");
}

TEST_P(OpsOnEmulatedKernels, MergesHalves) {
  constexpr std::int64_t kHeads = 3;
  const auto half = [&] { return Attended{random_rows(rows, kHeads * width), at::randn({kHeads, rows}) * 3}; };
  const Attended own = half(), prefix = half();
  prefix.lse_HT.select(1, 2).fill_(std::numeric_limits<float>::infinity());  // a query that sees no key of the prefix
  const Attended got = cuda::merge_halves(own, prefix), want = merge_halves(own, prefix, kHeads);
  expect_close(got.out, want.out, "merged");
  expect_close(got.lse_HT, want.lse_HT, "merged log-sum-exp");
}

TEST_P(OpsOnEmulatedKernels, CombinesGradients) {
  const std::int64_t kv = 2 * width, q = 3 * kv;  // one head of keys and three of queries, of 2 * width columns
  const auto part = [&] { return Qkv{random_rows(rows, q), random_rows(rows, kv), random_rows(rows, kv)}; };
  const std::array<Qkv, 2> both = {part(), part()};
  const Turns turns{at::randn({rows, width}), at::randn({rows, width})};
  for (const bool prefixed : {true, false}) {
    for (const bool turned : {true, false}) {
      const at::Tensor got = random_rows(rows, q + 2 * kv), want = random_rows(rows, q + 2 * kv);
      const auto columns = [&](const at::Tensor& all) {
        return Qkv{all.narrow(1, 0, q), all.narrow(1, q, kv), all.narrow(1, q + kv, kv)};
      };
      const std::array<Qkv, 2> parts = {both[0], prefixed ? both[1] : Qkv{}};
      const Turns t = turned ? turns : Turns{};
      cuda::combine_gradients(parts, t, t, columns(got));
      combine_gradients(parts, t, t, columns(want));
      expect_close(got, want, "combined gradients");
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Widths, OpsOnEmulatedKernels, testing::Values(1, 12, 64, 576));

TEST(OpsCuda, LeavesTheCpuAlone) {
  EXPECT_FALSE(kernels::for_gpu());
  EXPECT_FALSE(cuda::takes({random_rows(2, 8)}));
  EXPECT_FALSE(cuda::takes_norm({random_rows(2, 8), at::Tensor()}));
  EXPECT_FALSE(cuda::takes_heads(random_rows(2, 8), at::ones({2, 4}), at::ones({2, 4})));
}

}  // namespace
}  // namespace dmoerm::nn
