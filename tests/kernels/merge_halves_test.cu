// Attention over two sets of keys, merged, against attention over both in float64.
#include "kernels/merge_halves.cu"
#include "kernels/on_device.h"

namespace {

using namespace dmoerm;
using namespace dmoerm::test;

struct Shape {
  std::size_t queries, heads, head_dim;
};

/// Which halves saw keys, by query: both, the first, the second.
bool sees(std::size_t query, std::size_t half) { return query % 3 == 0 || query % 3 == half + 1; }

void check(Draw& draw, const Shape& s, bool in_place) {
  const std::size_t width = s.heads * s.head_dim;
  std::vector<Bfloat16> out[2] = {draw.bfloat16s(s.queries * width), draw.bfloat16s(s.queries * width)};
  std::vector<float> lse[2] = {draw.floats(s.heads * s.queries), draw.floats(s.heads * s.queries)};
  std::vector<double> want(s.queries * width), want_lse(s.heads * s.queries);
  for (std::size_t q = 0; q < s.queries; ++q) {
    for (std::size_t h = 0; h < s.heads; ++h) {
      const std::size_t at = h * s.queries + q;
      lse[0][at] *= 20, lse[1][at] *= 20;  // far apart too
      double weights[2], sum = 0;
      for (std::size_t half = 0; half < 2; ++half) {
        if (!sees(q, half)) lse[half][at] = INFINITY;
        sum += weights[half] = sees(q, half) ? std::exp(static_cast<double>(lse[half][at])) : 0;
      }
      want_lse[at] = std::log(sum);
      for (std::size_t i = q * width + h * s.head_dim; i < q * width + (h + 1) * s.head_dim; ++i) {
        for (std::size_t half = 0; half < 2; ++half) {
          if (sees(q, half)) want[i] += weights[half] / sum * value_of(out[half][i]);
          if (!sees(q, half)) out[half][i] = {0xffff};  // NaN: nobody may look
        }
      }
    }
  }
  const Array b(out[1]);
  const Array la(lse[0]), lb(lse[1]);
  const std::string what = "merged heads of " + std::to_string(s.head_dim);
  const auto merged = same_in_both_orders(
      [&] {
        const Array a(out[0]);
        const Array<Bfloat16> apart(want.size());
        const Array<float> sums(want_lse.size());
        const Array<Bfloat16>& to = in_place ? a : apart;
        kernels::merge_halves(to.get(), sums.get(), {a.get(), la.get()}, {b.get(), lb.get()},
                              static_cast<std::int64_t>(s.queries), static_cast<int>(s.heads), static_cast<int>(s.head_dim),
                              nullptr);
        expect_close(sums.host(), want_lse, what + ", log-sum-exp");
        return to.host();
      },
      what);
  expect_close(merged, want, what);
}

}  // namespace

int main() {
  return run([] {
    Draw draw;
    for (const bool in_place : {false, true}) {
      check(draw, {7, 12, 128}, in_place);
      check(draw, {6, 3, 64}, in_place);
      check(draw, {5, 150, 3}, in_place);
      check(draw, {0, 2, 64}, in_place);
    }
  });
}
