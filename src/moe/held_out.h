// How well kinds of aggregators order prompts that they have not seen, by which one of them is chosen.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "moe/aggregator_fit.h"

namespace dmoerm::moe {

/// How well a kind orders groups that it has not seen.
struct HeldOut {
  std::vector<double> right, pairs;  ///< Correct pairs and pairs of each prompt with pairs, in an order that all kinds share
  [[nodiscard]] double accuracy() const;
};
/// Cuts `train` into folds of whole prompts, and orders the pairs of each fold by the aggregator that fit_aggregator() makes of
/// the others. Choosing between kinds needs this because a kind that stops where some figure is best is flattered by it. Empty
/// with fewer than two prompts with pairs.
HeldOut held_out(const std::string& kind, const ExpertFeatures& train, const ExpertFeatures& validation,
                 const config::AggregatorConfig& config, std::uint64_t seed, at::Device device = at::kCPU);
/// Whether one kind orders more pairs than another, by more than one standard error of the difference over prompts.
bool clearly_better(const HeldOut& one, const HeldOut& other);
/// What `aggregator.kind: best` takes: the stack unless the mean is clearly better, or one of the larger kinds that is clearly
/// better than that. @param held_out  "mean", "stack" and perhaps "gate" and "mlp"
std::string best_kind(const std::map<std::string, HeldOut>& held_out);

}  // namespace dmoerm::moe
