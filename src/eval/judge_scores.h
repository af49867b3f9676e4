// A generative judge as a model: it is asked about each pair in both orders, through the label store, so that no answer is paid
// for twice.
#pragma once
#include <string>

#include "eval/model_scores.h"
#include "eval/model_spec.h"

namespace dmoerm::eval {

/// Ask the judges that a run's configuration names in `labels.judges` about every pair of the data whose order is known, ties
/// among them, by the criterion any/overall. A pair is decided by the votes of all judges; without a verdict that survives the
/// exchange of places it counts half. Limits are those of `labels.budget`.
/// @throws ConfigError, DataError, IoError; the error of the labelling's end if it ends before every pair is answered (the same
/// command continues it)
ModelScores judge_scores(const std::string& name, const std::string& config_file, const Data& data, const OnScored& on_scored);

}  // namespace dmoerm::eval
