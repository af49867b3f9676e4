// SwiGLU and its gradient against a loop in float64.
#include "kernels/on_device.h"
#include "kernels/swiglu.cu"

namespace {

using namespace dmoerm;
using namespace dmoerm::test;

void check(Draw& draw, std::size_t rows, std::size_t width) {
  const std::string shape = std::to_string(rows) + " x " + std::to_string(width);
  const auto gate_up = draw.bfloat16s(rows * 2 * width), dact = draw.bfloat16s(rows * width);
  std::vector<double> act, dgate_up(rows * 2 * width);
  for (std::size_t t = 0; t < rows; ++t) {
    for (std::size_t i = 0; i < width; ++i) {
      const std::size_t at = t * 2 * width + i;
      const double gate = value_of(gate_up[at]), up = value_of(gate_up[at + width]), da = value_of(dact[t * width + i]);
      const double s = 1 / (1 + std::exp(-gate));
      act.push_back(gate * s * up);
      dgate_up[at] = da * up * s * (1 + gate * (1 - s));
      dgate_up[at + width] = da * gate * s;
    }
  }
  const Array in(gate_up), slope(dact);
  const int f = static_cast<int>(width);
  const auto n = static_cast<std::int64_t>(rows);
  expect_close(same_in_both_orders(
                   [&] {
                     const Array<Bfloat16> out(act.size());
                     kernels::swiglu(out.get(), in.get(), n, f, nullptr);
                     return out.host();
                   },
                   "swiglu"),
               act, "swiglu of " + shape);
  for (const bool with_act : {false, true}) {
    const Array<Bfloat16> again(act.size());
    const auto got = same_in_both_orders(
        [&] {
          const Array<Bfloat16> out(dgate_up.size());
          kernels::swiglu_backward(out.get(), with_act ? again.get() : nullptr, slope.get(), in.get(), n, f, nullptr);
          return out.host();
        },
        "swiglu_backward");
    expect_close(got, dgate_up, "the gradient of swiglu of " + shape);
    if (with_act) expect_close(again.host(), act, "swiglu again of " + shape);
  }
}

void check_extremes() {
  const float inf = INFINITY;
  const Array in(std::vector<Bfloat16>{bfloat16(-200), bfloat16(200), bfloat16(inf), bfloat16(2), bfloat16(3), bfloat16(1)});
  const Array<Bfloat16> out(std::size_t{3});
  kernels::swiglu(out.get(), in.get(), 1, 3, nullptr);
  expect_close(out.host(), {-0.0, 600, inf}, "swiglu of numbers whose exponentials overflow");
}

}  // namespace

int main() {
  return run([] {
    Draw draw;
    for (const std::size_t width : {1, 7, 8, 1000, 1016, 1024, 1032, 1536}) check(draw, 3, width);
    check(draw, 0, 8);
    check_extremes();
  });
}
