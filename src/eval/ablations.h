// A bundle without one of its parts: what its rewards would be without what one expert, or the base, adds to them.
#pragma once
#include <cstddef>
#include <string>
#include <vector>

#include "moe/model.h"

namespace dmoerm::eval {

/// The parts that can be taken out of a model's rewards: those of categories whose aggregator is a sum. The other parts keep
/// their weights. Nothing is computed again: the scores hold what each part adds.
class Ablations {
 public:
  /// @param model  outlives this
  explicit Ablations(const moe::Model& model);

  /// The points, in the order of the categories, and then "base" if an aggregator reads the base's reward.
  [[nodiscard]] const std::vector<std::string>& parts() const { return parts_; }
  /// The rewards of all responses without a part. Where it adds nothing they are the model's own, bit by bit.
  /// @param part  index into parts()
  [[nodiscard]] std::vector<double> scores_without(std::size_t part, const moe::GroupScore& scored) const;
  /// Of which categories nothing can be taken out, and why; "" if there are none.
  [[nodiscard]] std::string note() const;

 private:
  const moe::Model& model_;
  std::vector<std::string> parts_;
  std::size_t points_ = 0;  ///< How many of the parts are points
};

}  // namespace dmoerm::eval
