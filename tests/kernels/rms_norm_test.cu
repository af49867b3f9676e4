// RMS norms with and without a residual, and their gradient, against loops in float64.
#include "kernels/on_device.h"
#include "kernels/rms_norm.cu"

namespace {

using namespace dmoerm;
using namespace dmoerm::test;

constexpr float kEps = 1e-6F;

double rstd_of(const Bfloat16* h, std::size_t width) {
  double sum = 0;
  for (std::size_t i = 0; i < width; ++i) sum += value_of(h[i]) * value_of(h[i]);
  return 1 / std::sqrt(sum / static_cast<double>(width) + kEps);
}

void check_forward(Draw& draw, std::size_t rows, std::size_t width, bool with_residual) {
  const std::string what = "the norm of rows of " + std::to_string(width) + (with_residual ? " with a residual" : "");
  const auto x = draw.bfloat16s(rows * width), r = draw.bfloat16s(rows * width), w = draw.bfloat16s(width);
  std::vector<Bfloat16> sums;
  std::vector<double> want_y, want_rstd;
  for (std::size_t i = 0; i < rows * width; ++i)
    sums.push_back(with_residual ? bfloat16(static_cast<float>(value_of(x[i]) + value_of(r[i]))) : x[i]);
  for (std::size_t t = 0; t < rows; ++t) {
    want_rstd.push_back(rstd_of(&sums[t * width], width));
    for (std::size_t i = 0; i < width; ++i) want_y.push_back(value_of(sums[t * width + i]) * want_rstd[t] * value_of(w[i]));
  }
  const Array dx(x), dr(r), dw(w);
  const Array<Bfloat16> h(x.size());
  const Array<float> rstd(rows);
  const auto y = same_in_both_orders(
      [&] {
        const Array<Bfloat16> out(x.size());
        kernels::rms_norm(out.get(), with_residual ? h.get() : nullptr, rstd.get(), dx.get(), with_residual ? dr.get() : nullptr,
                          dw.get(), static_cast<std::int64_t>(rows), static_cast<int>(width), kEps, nullptr);
        return out.host();
      },
      what);
  expect_close(y, want_y, what);
  expect_close(rstd.host(), want_rstd, what + ", 1 / root mean square");
  if (with_residual) expect(same_bits(h.host(), sums), what + ": the sum has other bits");
}

void check_backward(Draw& draw, std::size_t rows, std::size_t width, bool with_residual) {
  const std::string what =
      "the gradient of the norm of rows of " + std::to_string(width) + (with_residual ? " with a residual" : "");
  const auto h = draw.bfloat16s(rows * width), dy = draw.bfloat16s(rows * width), past = draw.bfloat16s(rows * width),
             w = draw.bfloat16s(width);
  std::vector<float> rstd;
  std::vector<double> want;
  for (std::size_t t = 0; t < rows; ++t) {
    rstd.push_back(static_cast<float>(rstd_of(&h[t * width], width)));
    double dot = 0;
    for (std::size_t i = 0; i < width; ++i) dot += value_of(dy[t * width + i]) * value_of(w[i]) * value_of(h[t * width + i]);
    for (std::size_t i = 0; i < width; ++i) {
      const std::size_t at = t * width + i;
      const double scale = rstd[t], shrink = dot / static_cast<double>(width) * scale * scale;
      want.push_back((with_residual ? value_of(past[at]) : 0) +
                     scale * (value_of(dy[at]) * value_of(w[i]) - value_of(h[at]) * shrink));
    }
  }
  const Array dh(h), slope(dy), residual(past), dw(w);
  const Array scales(rstd);
  expect_close(same_in_both_orders(
                   [&] {
                     const Array<Bfloat16> out(h.size());
                     kernels::rms_norm_backward(out.get(), slope.get(), dh.get(), dw.get(), scales.get(),
                                                with_residual ? residual.get() : nullptr, static_cast<std::int64_t>(rows),
                                                static_cast<int>(width), nullptr);
                     return out.host();
                   },
                   what),
               want, what);
}

void check_too_wide() {
  try {
    kernels::rms_norm(nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, 1, kernels::kNormWidthMax + 1, kEps, nullptr);
    expect(false, "a row that is too wide is refused");
  } catch (const std::runtime_error&) {
  }
}

}  // namespace

int main() {
  return run([] {
    Draw draw;
    for (const bool with_residual : {false, true}) {
      for (const std::size_t width : {1, 8, 24, 31, 64, 128, 513, 576, 1536, 4104, 8192, 16384}) {
        check_forward(draw, 3, width, with_residual);
        check_backward(draw, 3, width, with_residual);
      }
      check_forward(draw, 0, 8, with_residual);
    }
    check_forward(draw, 1, kernels::kNormWidthMax - 1, true);  // the widest row of single elements
    check_backward(draw, 1, kernels::kNormWidthMax - 1, true);
    check_too_wide();
  });
}
