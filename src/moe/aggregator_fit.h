// Fits aggregators: what Aggregator::fit() and Aggregator::mean() do.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "moe/aggregator.h"

namespace dmoerm::moe {

/// @see Aggregator::fit
Aggregator fit_aggregator(const std::string& kind, const ExpertFeatures& train, const std::vector<std::size_t>& some,
                          const ExpertFeatures& validation, const config::AggregatorConfig& config, std::uint64_t seed,
                          at::Device device);

}  // namespace dmoerm::moe
