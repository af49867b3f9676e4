// Dropout drops the elements that the loop for the CPU drops, and scales the others.
#include "kernels/dropout.cu"
#include "kernels/on_device.h"
#include "nn/dropout_hash.h"

namespace {

using namespace dmoerm;
using namespace dmoerm::test;

/// The formula of the loop for the CPU, element by element.
bool dropped(std::uint64_t key, std::size_t row, std::size_t column, double p) {
  std::uint32_t h = nn::row_key(key, static_cast<std::int64_t>(row)) + static_cast<std::uint32_t>(column) * nn::kGolden;
  h = (h ^ (h >> 16)) * nn::kMix1;
  h = (h ^ (h >> 13)) * nn::kMix2;
  return (h ^ (h >> 16)) < nn::dropout_threshold(p);
}

void check(Draw& draw, std::size_t rows, std::size_t width, double p, bool add) {
  constexpr std::uint64_t kKey = 0xfedcba9876543210ULL;
  constexpr std::size_t kFirst = 5;
  const std::string what = "dropout of " + std::to_string(width) + " columns" + (add ? ", added" : "");
  const auto x = draw.bfloat16s(rows * width), past = draw.bfloat16s(rows * width);
  const float keep = static_cast<float>(1 / (1 - p));
  std::vector<double> want;
  std::size_t kept = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const bool gone = dropped(kKey, kFirst + i / width, i % width, p);
    kept += gone ? 0 : 1;
    want.push_back((add ? value_of(past[i]) : 0) + (gone ? 0 : value_of(x[i]) * keep));
  }
  if (x.size() > 10'000)
    expect(std::fabs(static_cast<double>(kept) / static_cast<double>(x.size()) - (1 - p)) < 0.03, "the share kept");
  const Array in(x);
  expect_close(same_in_both_orders(
                   [&] {
                     const Array out(add ? past : std::vector<Bfloat16>(x.size(), Bfloat16{0xffff}));
                     const kernels::Dropping dropping{nn::dropout_threshold(p), keep, kKey, static_cast<std::int64_t>(kFirst)};
                     kernels::dropout(out.get(), in.get(), dropping, add, static_cast<std::int64_t>(rows),
                                      static_cast<int>(width), nullptr);
                     return out.host();
                   },
                   what),
               want, what);
}

}  // namespace

int main() {
  return run([] {
    Draw draw;
    for (const bool add : {false, true}) {
      for (const std::size_t width : {1, 7, 8, 1024, 1032, 1536}) check(draw, 8, width, 0.3, add);
      check(draw, 3, 64, 0, add);
      check(draw, 0, 64, 0.5, add);
    }
  });
}
