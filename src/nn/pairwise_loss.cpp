#include "nn/pairwise_loss.h"

#include <cmath>

#include "base/error.h"

namespace dmoerm::nn {

double pairwise_loss(std::span<const float> rewards, std::span<const preference::Preference> pairs, double gradient_scale,
                     std::span<float> gradient) {
  DMOERM_CHECK(!pairs.empty(), "a group has pairs");
  const double share = 1.0 / static_cast<double>(pairs.size());
  double loss = 0;
  for (const preference::Preference& pair : pairs) {
    const auto w = static_cast<std::size_t>(pair.winner), l = static_cast<std::size_t>(pair.loser);
    const double gap = static_cast<double>(rewards[w]) - static_cast<double>(rewards[l]) - static_cast<double>(pair.margin);
    const double doubt = 1.0 - static_cast<double>(pair.target);
    // target * softplus(-gap) + (1 - target) * softplus(gap)
    loss += std::max(-gap, 0.0) + std::log1p(std::exp(-std::abs(gap))) + doubt * gap;
    const double sigmoid = gap >= 0 ? std::exp(-gap) / (1 + std::exp(-gap)) : 1 / (1 + std::exp(gap));  // sigmoid of -gap
    const double slope = sigmoid - doubt;
    const auto push = static_cast<float>(slope * share * gradient_scale);
    gradient[w] -= push;
    gradient[l] += push;
  }
  return loss * share;
}

double centring_loss(std::span<const float> rewards, double centring, double gradient_scale, std::span<float> gradient) {
  if (centring <= 0) return 0;
  const double share = centring / static_cast<double>(rewards.size());
  double loss = 0;
  for (std::size_t i = 0; i < rewards.size(); ++i) {
    loss += static_cast<double>(rewards[i]) * rewards[i] * share;
    gradient[i] += static_cast<float>(2.0 * rewards[i] * share * gradient_scale);
  }
  return loss;
}

double pairs_right(std::span<const float> rewards, std::span<const preference::Preference> pairs) {
  double right = 0;
  for (const preference::Preference& pair : pairs) {
    const float gap = rewards[static_cast<std::size_t>(pair.winner)] - rewards[static_cast<std::size_t>(pair.loser)];
    right += gap > 0 ? 1.0 : gap == 0 ? 0.5 : 0.0;
  }
  return right;
}

}  // namespace dmoerm::nn
