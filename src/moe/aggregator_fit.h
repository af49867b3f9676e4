// Fits aggregators.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "moe/aggregator.h"

namespace dmoerm::moe {

/// The mean of the experts' rewards, each standardised on `train`: the baseline "mean of experts".
Aggregator mean_aggregator(const ExpertFeatures& train);
/// Fit one kind. Deterministic in `seed`. Kinds that take steps keep the best weights, which may be those of the start: mlp and
/// gate stop by the loss on a fold of the train groups, paper_mlp by accuracy on `validation`. Without pairs to learn from, every
/// kind stays where it starts: stack and mlp at the mean, gate at equal weights, paper_mlp at random weights.
/// @param device  device that computes the kinds with networks, whose weights stay there
/// @throws ConfigError for an unknown kind; DataError for features that are not finite
Aggregator fit_aggregator(const std::string& kind, const ExpertFeatures& train, const ExpertFeatures& validation,
                          const config::AggregatorConfig& config, std::uint64_t seed, at::Device device = at::kCPU);
/// The same on some of the groups, in this order. A step computes only the responses of its own groups.
/// @param some  indices into the groups of the features
Aggregator fit_aggregator(const std::string& kind, const ExpertFeatures& train, const std::vector<std::size_t>& some,
                          const ExpertFeatures& validation, const config::AggregatorConfig& config, std::uint64_t seed,
                          at::Device device = at::kCPU);

}  // namespace dmoerm::moe
