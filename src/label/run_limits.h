// Limits for one run of `dmoerm label`.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "config/label_config.h"
#include "label/budget.h"

namespace dmoerm::label {

/// Limits from the command line; nothing: the option is not given.
struct RunLimits {
  std::optional<double> cost_max = {};  ///< Amount in `labels.currency`
  std::optional<std::int64_t> requests_max = {}, tokens_max = {};
};

/// Models of the judges for which no price is set.
std::vector<std::string> judges_without_price(const config::LabelsConfig& labels);

/// Check the limits and convert them; the result's source names the given options.
/// @throws ConfigError for a limit that is not above 0 or too large, or a limit of cost where a judge has no price
SpendLimits spend_limits(const RunLimits& limits, const config::LabelsConfig& labels);

}  // namespace dmoerm::label
