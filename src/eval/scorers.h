// Everything that can score items: bundles, reward models, reward servers, given scores, the length of a response, ensembles.
#pragma once
#include <vector>

#include "eval/item.h"
#include "eval/model_scores.h"
#include "eval/model_spec.h"

namespace dmoerm::eval {

/// Scores of all models, in their order; a bundle with `parts` or `ablations` gives several. Models are loaded one after the
/// other.
/// @throws ConfigError for an unknown kind, a name that is given twice, options that no model uses, and ablations of a bundle of
/// which nothing can be taken out; DataError, IoError; Stopped after a signal
std::vector<ModelScores> score_all(const std::vector<ModelSpec>& models, const Data& data, const ScoringOptions& options,
                                   const OnScored& on_scored);

}  // namespace dmoerm::eval
