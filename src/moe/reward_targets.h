// What a router learns from rewards: with which probability each category's model should have a prompt. Shapes: N prompts,
// C categories.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace dmoerm::moe {

/// Means of the log-likelihoods over the rated prompts of each category, [C, C], a row for each category; NaN for one without a
/// rated prompt.
/// @param ratings_NC  mean log-likelihood of a prompt's pairs under each category's model, float64; NaN for prompts that nobody
///   rated
at::Tensor category_means(const at::Tensor& ratings_NC, const std::vector<std::int32_t>& labels);

/// Targets [N, C], float64: softmax(r / temperature), where r is own_share of the prompt's own log-likelihoods and the rest of
/// the means of its category. Prompts that nobody rated have these means alone, and prompts of a category without means have
/// their own category.
/// @param means_CC  of category_means()
/// @see arXiv:2311.08692 section 3 (Zooter), with the categories as tags
at::Tensor reward_targets(const at::Tensor& ratings_NC, const std::vector<std::int32_t>& labels, const at::Tensor& means_CC,
                          double own_share, double temperature);

}  // namespace dmoerm::moe
