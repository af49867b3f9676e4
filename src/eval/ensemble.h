// Ensembles of models that have been scored.
#pragma once
#include <string>
#include <vector>

#include "eval/model_scores.h"

namespace dmoerm::eval {

/// Whether a text names an ensemble: mean(...), wco(...) or uwo(...).
bool is_ensemble(const std::string& what);

/// Of each response the mean of its members' scores, the lowest (wco), or the mean less half their variance (uwo; population
/// variance). Each member's scores are first taken less the mean of their prompt and divided by their spread within the prompts,
/// which uses no label.
/// @param models  the models scored so far, among them the members
/// @throws ConfigError for a member that is not among them, is named twice or has no scores
/// @see arXiv:2310.02743
ModelScores ensemble(const std::string& name, const std::string& what, const std::vector<ModelScores>& models);

}  // namespace dmoerm::eval
