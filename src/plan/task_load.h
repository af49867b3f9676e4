// What the kinds of tasks compute, from the groups that they train on or read.
#pragma once
#include "config/run_config.h"
#include "plan/cost_model.h"
#include "plan/sizes.h"

namespace dmoerm::plan {

/// @param steps   updates of the longest training
/// @param models  models that step together
Load training_load(const config::TrainConfig& train, const config::ClusterConfig& cluster, const GroupSizes& training,
                   const GroupSizes& validation, double steps, int models);
/// Forward passes of `models` models over all groups.
Load reading_load(const config::TrainConfig& train, const GroupSizes& groups, int models);
/// Aggregators over `models` experts, each fitted once on all groups and once for each fold that is held out, with as many steps
/// as the configuration allows.
Load fitting_load(const config::AggregatorConfig& aggregator, const GroupSizes& training, const GroupSizes& validation,
                  int models);
/// Work that takes so many seconds whatever the device.
Load fixed_load(double seconds);

}  // namespace dmoerm::plan
