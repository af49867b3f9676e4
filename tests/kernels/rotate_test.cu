// Rotation of heads in place against a loop in float64, forwards and back.
#include "kernels/on_device.h"
#include "kernels/rotate.cu"

namespace {

using namespace dmoerm;
using namespace dmoerm::test;

struct Shape {
  std::size_t rows, heads, head_dim, before, after;  ///< other columns of the same rows must stay
};

void check(Draw& draw, const Shape& s, bool inverse) {
  const std::size_t half = s.head_dim / 2, width = s.heads * s.head_dim, stride = s.before + width + s.after;
  const auto x = draw.bfloat16s(s.rows * stride);
  const auto cos = draw.floats(s.rows * half), sin = draw.floats(s.rows * half);
  std::vector<double> want;
  for (const Bfloat16 v : x) want.push_back(value_of(v));
  for (std::size_t t = 0; t < s.rows; ++t) {
    for (std::size_t h = 0; h < s.heads; ++h) {
      for (std::size_t i = 0; i < half; ++i) {
        double &a = want[t * stride + s.before + h * s.head_dim + i], &b = *(&a + half);
        const double u = a, v = b, c = cos[t * half + i], e = inverse ? -sin[t * half + i] : sin[t * half + i];
        a = u * c - v * e, b = v * c + u * e;
      }
    }
  }
  const Array c(cos), e(sin);
  const std::string what = "rotated heads of " + std::to_string(s.head_dim) + " in rows of " + std::to_string(stride);
  expect_close(
      same_in_both_orders(
          [&] {
            const Array out(x);
            const kernels::Heads heads{out.get() + s.before, static_cast<std::int64_t>(stride), static_cast<int>(s.heads)};
            kernels::rotate(heads, {c.get(), e.get()}, inverse, static_cast<std::int64_t>(s.rows), static_cast<int>(s.head_dim),
                            nullptr);
            return out.host();
          },
          what),
      want, what);
}

}  // namespace

int main() {
  return run([] {
    Draw draw;
    for (const bool inverse : {false, true}) {
      check(draw, {3, 14, 128, 0, 256}, inverse);  // queries and keys of 12 + 2 heads, before values
      check(draw, {5, 40, 64, 64, 8}, inverse);    // more packs than threads
      check(draw, {2, 3, 64, 4, 4}, inverse);      // rows that are not aligned
      check(draw, {2, 200, 6, 1, 0}, inverse);     // halves of 3 columns
      check(draw, {0, 2, 64, 0, 0}, inverse);
    }
  });
}
