// The limits that `dmoerm label` is given for one run.
#pragma once
#include <cstdint>
#include <optional>

#include "config/label_config.h"
#include "label/budget.h"

namespace dmoerm::label {

/// As on the command line; nothing: not given.
struct RunLimits {
  std::optional<double> cost_max = {};  ///< in `labels.currency`
  std::optional<std::int64_t> requests_max = {}, tokens_max = {};
};

/// Their source names the options that were given.
/// @throws ConfigError for a limit that is not above 0 or too large to count, or one of cost where a judge has no price
SpendLimits spend_limits(const RunLimits& limits, const config::LabelsConfig& labels);

}  // namespace dmoerm::label
