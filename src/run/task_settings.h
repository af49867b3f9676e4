// Settings that the identities of several stages share.
#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>

#include "config/identity.h"

namespace dmoerm::run {

/// The settings of a section that affect results, according to the table of settings.
template <class Section>
nlohmann::json result_settings(const Section& section) {
  return config::settings_that_affect(section, config::Affects::result);
}
/// result_settings() of a training. Keys that 0.1.0 did not have count only with another value than their default, so that what
/// was trained before stays done.
nlohmann::json training_settings(const config::TrainConfig& train);
/// The settings that decide on which train groups a task of phases 1 and 2 trains. Models of all train groups are the same for
/// any number of folds. @param fold  that of the task
nlohmann::json phase1_settings(const config::RunConfig& config, std::int32_t fold);
/// What heads read; nothing if that is the default, which 0.1.0 had no key for.
nlohmann::json head_settings(const config::RunConfig& config);
/// result_settings() of all categories.
nlohmann::json all_categories(const config::RunConfig& config);

}  // namespace dmoerm::run
