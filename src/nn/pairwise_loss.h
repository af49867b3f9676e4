// The Bradley-Terry loss of ranked groups, and its gradient in the rewards.
#pragma once
#include <ATen/core/ATen_fwd.h>

#include <span>
#include <vector>

#include "preference/preference.h"

namespace dmoerm::nn {

/// Mean over the group's strictly ordered pairs of -log sigmoid(r_winner - r_loser - margin), computed as softplus so that no gap
/// overflows. A pair with a soft target t costs t times that and 1 - t times the loss of the opposite order.
/// @param rewards  rewards of the group's responses, float32
/// @param pairs  indices into rewards; at least one
/// @param gradient_scale  factor on the gradient (e.g. 1 / groups of the step)
/// @param gradient  same length as rewards; the gradient is added
/// @see arXiv:2403.01197 section 3
double pairwise_loss(std::span<const float> rewards, std::span<const preference::Preference> pairs, double gradient_scale,
                     std::span<float> gradient);

/// The penalty centring * mean(r^2), which keeps the rewards of a group near zero. Adds its gradient to `gradient`.
double centring_loss(std::span<const float> rewards, double centring, double gradient_scale, std::span<float> gradient);

/// Number of pairs whose winner has the higher reward; a tie counts as half.
double pairs_right(std::span<const float> rewards, std::span<const preference::Preference> pairs);

}  // namespace dmoerm::nn
