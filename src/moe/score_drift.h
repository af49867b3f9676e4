// How far scores are from those that the same model gives with float32 weights.
#pragma once
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>

namespace dmoerm::moe {

class ScoreDrift {
 public:
  /// Add the responses to one prompt.
  /// @param deviation  deviation of scores within a prompt (ScoreStats::std), of which the differences are shares
  void add(std::span<const double> float32, std::span<const double> others, double deviation);
  /// Count a prompt of which the route is known in both. @param same  whether the same model scored
  void add_route(bool same);

  /// "scores differ from float32 by 0.002 on average, at most 0.01 (0.004 and 0.02 of the deviation within a prompt); 3 of 400
  /// pairs of responses are ordered otherwise". Says so if there was nothing to compare.
  [[nodiscard]] std::string text() const;
  /// {"scores", "mean", "largest", "mean_of_deviation", "largest_of_deviation", "pairs", "pairs_turned", "prompts",
  /// "prompts_rerouted"}
  [[nodiscard]] nlohmann::json to_json() const;

 private:
  std::int64_t scores_ = 0, pairs_ = 0, turned_ = 0;  ///< pairs_: those that float32 orders
  std::int64_t prompts_ = 0, rerouted_ = 0;
  double sum_ = 0, largest_ = 0;              ///< Of the differences
  double share_sum_ = 0, share_largest_ = 0;  ///< The same as shares of the deviation
};

}  // namespace dmoerm::moe
