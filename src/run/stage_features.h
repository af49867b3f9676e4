// The stage "features": computes the experts' states and rewards for phase 3.
#pragma once
#include <string>

#include "comm/communicator.h"
#include "run/run_context.h"

namespace dmoerm::run {

/// Settings that affect the features of a category, besides those of every task.
nlohmann::json features_settings(const config::RunConfig& config, const config::CategoryConfig& category);

/// Compute states and rewards of a category's experts, rewards of its base, and states of the prompts on the groups of phase 3
/// and on the validation groups. With folds the groups of each are rated by the models that were trained without it, and these
/// rate the validation groups too. Collective over `ranks`; the first of them writes.
void run_features(RunContext& context, const plan::TaskId& task, const TaskIdentity& identity, comm::Communicator& ranks);

/// The features that run_features() cached; with folds those of the split train come fold by fold, and their rewards have the
/// level and spread of the final experts' rewards. @param split  "train" or "validation"
moe::ExpertFeatures load_features(RunContext& context, std::int32_t category, const std::string& split);

}  // namespace dmoerm::run
