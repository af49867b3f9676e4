// What the kinds of tasks compute, from the groups that they train on or read.
#pragma once
#include <cstdint>

#include "config/run_config.h"
#include "plan/cost_model.h"
#include "plan/sizes.h"

namespace dmoerm::plan {

/// Most groups from whose states a value head starts (head.start: ridge).
constexpr std::int64_t kHeadStartGroups = 2000;

/// @param steps   updates of the longest training
/// @param models  models that step together
/// @param head    where their heads begin
Load training_load(const config::TrainConfig& train, const config::ClusterConfig& cluster, const GroupSizes& training,
                   const GroupSizes& validation, double steps, int models, config::HeadStart head = config::HeadStart::random);
/// Forward passes of `models` models over all groups.
Load reading_load(const config::TrainConfig& train, const GroupSizes& groups, int models);
/// Evaluation of a category on its test groups with `models` that share a pass: its experts, its base where its reward is read,
/// and the models that stand alone where their adapters begin at the experts' layer. Counted for each group: the router's reading
/// of the prompt, these models, and each model that needs a pass of its own. Nobody knows before the run which prompts the router
/// sends to another category, so a tenth of the groups is also read by as many experts as the other categories have on average,
/// and another tenth where rewards are mixed. What the fallback scores is the single model's, which is counted already.
/// @param other_models  those of another category on average; 0 if there is none
/// @param alone         models with a pass of their own, of: single model, baselines, base
/// @param mix_top       categories whose rewards the router may mix
Load evaluation_load(const config::TrainConfig& train, const GroupSizes& test, int models, double other_models, int alone,
                     std::int64_t mix_top = 1);
/// Aggregators over `models` experts, with as many steps as the configuration allows: the paper's MLP is fitted once, the small
/// networks once on all groups and once for each fold that is held out. The regressions cost next to nothing.
Load fitting_load(const config::AggregatorConfig& aggregator, const GroupSizes& training, const GroupSizes& validation,
                  int models);
/// Work that takes so many seconds whatever the device.
Load fixed_load(double seconds);

}  // namespace dmoerm::plan
