#include "moe/score_drift.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/counted.h"

namespace dmoerm::moe {

void ScoreDrift::add(std::span<const double> float32, std::span<const double> others, double deviation) {
  for (std::size_t i = 0; i < float32.size(); ++i) {
    const double difference = std::abs(others[i] - float32[i]), share = difference / std::max(deviation, 1e-6);
    ++scores_;
    sum_ += difference;
    largest_ = std::max(largest_, difference);
    share_sum_ += share;
    share_largest_ = std::max(share_largest_, share);
    for (std::size_t j = 0; j < i; ++j) {
      if (float32[i] == float32[j]) continue;
      ++pairs_;
      turned_ += float32[i] > float32[j] ? others[i] <= others[j] : others[i] >= others[j];
    }
  }
}

void ScoreDrift::add_route(bool same) {
  ++prompts_;
  rerouted_ += same ? 0 : 1;
}

std::string ScoreDrift::text() const {
  if (scores_ == 0) return "there are no scores to compare with those of float32";
  const auto all = static_cast<double>(scores_);
  std::string text = fmt::format(
      "scores differ from float32 by {:.2g} on average, at most {:.2g} ({:.2g} and {:.2g} of the deviation within a prompt)",
      sum_ / all, largest_, share_sum_ / all, share_largest_);
  if (pairs_ > 0) text += fmt::format("; {} of {} of responses ordered otherwise", turned_, counted(pairs_, "pair"));
  if (prompts_ > 0) text += fmt::format("; {} of {} routed otherwise", rerouted_, counted(prompts_, "prompt"));
  return text;
}

nlohmann::json ScoreDrift::to_json() const {
  const auto all = static_cast<double>(std::max<std::int64_t>(1, scores_));
  return {{"scores", scores_},
          {"mean", sum_ / all},
          {"largest", largest_},
          {"mean_of_deviation", share_sum_ / all},
          {"largest_of_deviation", share_largest_},
          {"pairs", pairs_},
          {"pairs_turned", turned_},
          {"prompts", prompts_},
          {"prompts_rerouted", rerouted_}};
}

}  // namespace dmoerm::moe
