#include "moe/reward_targets.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/zeros.h>

#include <cmath>

namespace dmoerm::moe {
namespace {

bool is_rated(const at::Tensor& ratings_C) { return std::isfinite(ratings_C.sum().item<double>()); }

}  // namespace

at::Tensor category_means(const at::Tensor& ratings_NC, const std::vector<std::int32_t>& labels) {
  const std::int64_t c = ratings_NC.size(1);
  at::Tensor sums_CC = at::zeros({c, c}, at::kDouble), counts_C1 = at::zeros({c, 1}, at::kDouble);
  for (std::size_t i = 0; i < labels.size(); ++i) {
    const at::Tensor own_C = ratings_NC[static_cast<std::int64_t>(i)];
    if (!is_rated(own_C)) continue;
    sums_CC[labels[i]] += own_C;
    counts_C1[labels[i]] += 1;
  }
  return sums_CC / counts_C1;
}

at::Tensor reward_targets(const at::Tensor& ratings_NC, const std::vector<std::int32_t>& labels, const at::Tensor& means_CC,
                          double own_share, double temperature) {
  at::Tensor targets_NC = at::zeros(ratings_NC.sizes(), at::kDouble);
  for (std::size_t i = 0; i < labels.size(); ++i) {
    const auto row = static_cast<std::int64_t>(i);
    const at::Tensor mean_C = means_CC[labels[i]], own_C = ratings_NC[row];
    if (!is_rated(mean_C)) {
      targets_NC[row][labels[i]] = 1;
      continue;
    }
    const at::Tensor smoothed_C = is_rated(own_C) ? own_C * own_share + mean_C * (1 - own_share) : mean_C;
    targets_NC[row].copy_(at::softmax(smoothed_C / temperature, 0));
  }
  return targets_NC;
}

}  // namespace dmoerm::moe
