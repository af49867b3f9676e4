// What any two models differ in on the same draws.
#pragma once
#include <cstddef>
#include <nlohmann/json_fwd.hpp>
#include <vector>

#include "eval/resampling.h"
#include "eval/scored.h"

namespace dmoerm::eval {

/// One figure of several models.
struct ComparedFigure {
  const Resampled& resampled;
  const std::vector<Cluster>& clusters;        ///< For McNemar's test
  const std::vector<Cluster>& weighted;        ///< The same clusters with the weights that they have in the figure
  const std::vector<std::size_t>& with_value;  ///< Models that have the figure, by index
  double range = 1;                            ///< Largest difference that two models can have
};

/// [{"a", "b", "value", "low", "high", "interval": "bootstrap" or "bounds", "p", "p_holm", "mcnemar", "equivalence"}, ...] of all
/// pairs of models that are compared (are_compared()), with p-values adjusted over the pairs.
nlohmann::json model_differences(const Scored& scored, const ComparedFigure& figure);

}  // namespace dmoerm::eval
