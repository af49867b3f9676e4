#include "label/run_limits.h"

#include <fmt/format.h>

#include <cmath>
#include <string>
#include <vector>

#include "base/error.h"

namespace dmoerm::label {
namespace {

constexpr double kCostLargest = 1e12;  // an int64 still holds it in millionths

void refuse_unpriced(const config::LabelsConfig& labels) {
  const std::vector<std::string> names = judges_without_price(labels);
  if (names.empty()) return;
  throw ConfigError(
      "judge-without-price",
      fmt::format(
          "--cost-max: these judges have no price: {}; set price_prompt and price_completion (per million tokens) of each, or "
          "use --requests-max or --tokens-max",
          fmt::join(names, ", ")));
}

}  // namespace

std::vector<std::string> judges_without_price(const config::LabelsConfig& labels) {
  std::vector<std::string> names;
  for (const config::JudgeConfig& judge : labels.judges) {
    if (judge.price_prompt == 0 && judge.price_completion == 0) names.push_back(judge.model);
  }
  return names;
}

SpendLimits spend_limits(const RunLimits& limits, const config::LabelsConfig& labels) {
  SpendLimits spend;
  std::vector<std::string> given;
  if (limits.cost_max) {
    const double cost = *limits.cost_max;
    if (!(cost >= 1e-6 && cost <= kCostLargest))
      throw ConfigError("limit-out-of-range",
                        fmt::format("--cost-max: {} is out of range: expected 0.000001 to {}", cost, kCostLargest));
    refuse_unpriced(labels);
    spend.cost_micros = std::llround(cost * 1e6);
    given.emplace_back("--cost-max");
  }
  const auto whole = [&](const char* name, const std::optional<std::int64_t>& limit, std::int64_t& result) {
    if (!limit) return;
    if (*limit < 1)
      throw ConfigError("limit-out-of-range", fmt::format("{}: {} is out of range: expected 1 or more", name, *limit));
    result = *limit;
    given.emplace_back(name);
  };
  whole("--requests-max", limits.requests_max, spend.requests);
  whole("--tokens-max", limits.tokens_max, spend.tokens);
  spend.source = fmt::format("{}", fmt::join(given, ", "));
  return spend;
}

}  // namespace dmoerm::label
