// Settings that the identities of several stages share.
#pragma once
#include <nlohmann/json_fwd.hpp>

#include "config/run_config.h"

namespace dmoerm::run {

/// Settings of a training that change its bits, and no others: run names, log levels and checkpoint intervals do not.
nlohmann::json train_settings(const config::TrainConfig& train);
nlohmann::json category_settings(const config::CategoryConfig& category);
/// category_settings() of all categories.
nlohmann::json all_categories(const config::RunConfig& config);

}  // namespace dmoerm::run
