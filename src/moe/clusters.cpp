#include "moe/clusters.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/argmin.h>
#include <ATen/ops/bincount.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cdist.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/minimum.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <limits>
#include <vector>

#include "base/activity.h"
#include "base/rng.h"

namespace dmoerm::moe {
namespace {

constexpr int kStepsMax = 50;
constexpr std::uint64_t kTries = 5;

at::Tensor squared_distances(const LazyRows& x_ND, const at::Tensor& place_D) {
  std::vector<at::Tensor> parts;
  x_ND.in_parts(
      [&](const at::Tensor& part_RD, std::int64_t) { parts.push_back((part_RD - place_D).to(at::kDouble).square().sum(1)); });
  return at::cat(parts);
}

/// A row number, drawn with a probability in proportion to its weight.
std::int64_t drawn_row(const at::Tensor& weight_N, Rng& rng) {
  const at::Tensor up_to_N = weight_N.cumsum(0);
  const double place = rng.uniform() * up_to_N[-1].item<double>();
  return up_to_N.gt(place).to(at::kLong).argmax().item<std::int64_t>();  // the first row beyond it
}

at::Tensor drawn_centres(const LazyRows& x_ND, std::int64_t count, Rng& rng) {
  const auto first = static_cast<std::int64_t>(rng.below(static_cast<std::uint64_t>(x_ND.size(0))));
  at::Tensor centre_KD = x_ND.row(first).unsqueeze(0), nearest_N = squared_distances(x_ND, centre_KD[0]);
  while (centre_KD.size(0) < count && nearest_N.max().item<double>() > 0) {
    const at::Tensor next_D = x_ND.row(drawn_row(nearest_N, rng));
    centre_KD = at::cat({centre_KD, next_D.unsqueeze(0)});
    nearest_N = at::minimum(nearest_N, squared_distances(x_ND, next_D));
  }
  return centre_KD;
}

}  // namespace

at::Tensor nearest_centres(const at::Tensor& x_ND, const at::Tensor& centre_KD) { return at::cdist(x_ND, centre_KD).argmin(1); }

at::Tensor settled_centres(const LazyRows& x_ND, at::Tensor centre_KD) {
  for (int step = 0; step < kStepsMax; ++step) {
    const at::Tensor sum_KD = at::zeros_like(centre_KD), count_K1 = at::zeros({centre_KD.size(0), 1}, at::kLong);
    x_ND.in_parts([&](const at::Tensor& part_RD, std::int64_t) {
      const at::Tensor own_R = nearest_centres(part_RD, centre_KD);
      sum_KD.index_add_(0, own_R, part_RD);
      count_K1.add_(at::bincount(own_R, {}, centre_KD.size(0)).unsqueeze(1));
    });
    const at::Tensor next_KD = at::where(count_K1 > 0, sum_KD / count_K1.clamp_min(1), centre_KD);
    if (at::equal(next_KD, centre_KD)) break;
    centre_KD = next_KD;
    note_activity();
  }
  return centre_KD;
}

at::Tensor cluster_centres(const LazyRows& x_ND, std::int64_t count, std::uint64_t seed) {
  at::Tensor best_KD;
  double least = std::numeric_limits<double>::infinity();
  for (std::uint64_t attempt = 0; attempt < kTries; ++attempt) {
    Rng rng(seed, "clusters", attempt);
    const at::Tensor centre_KD = settled_centres(x_ND, drawn_centres(x_ND, count, rng));
    double sum = 0;
    x_ND.in_parts([&](const at::Tensor& part_RD, std::int64_t) {
      const at::Tensor rest_RD = part_RD - centre_KD.index_select(0, nearest_centres(part_RD, centre_KD));
      sum += rest_RD.to(at::kDouble).square().sum().item<double>();
    });
    if (!best_KD.defined() || sum < least) least = sum, best_KD = centre_KD;
  }
  return best_KD;
}

}  // namespace dmoerm::moe
