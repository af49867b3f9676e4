// Settings that the identities of several stages share.
#pragma once
#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "config/identity.h"
#include "run/run_directory.h"

namespace dmoerm::run {

/// The settings of a section that affect results, according to the table of settings.
template <class Section>
nlohmann::json result_settings(const Section& section) {
  return config::settings_that_affect(section, config::Affects::result);
}
/// result_settings() of a training, see drop_defaults().
nlohmann::json training_settings(const config::TrainConfig& train);
/// Leave out settings of keys that 0.1.0 did not have and that have their default, so that what was made before stays done.
/// @param later  those keys
void drop_defaults(nlohmann::json& settings, const nlohmann::json& defaults, std::initializer_list<const char*> later);
/// The settings that decide on which train groups a task of phases 1 and 2 trains. Models of all train groups are the same for
/// any number of folds. @param fold  that of the task
nlohmann::json phase1_settings(const config::RunConfig& config, std::int32_t fold);
/// What heads read and where they begin; nothing if those are the defaults, which 0.1.0 had no keys for.
nlohmann::json head_settings(const config::RunConfig& config);
/// The files of the data, whose checksums data::selection_settings() has.
std::map<std::string, HashedContent> contents_of_inputs(const config::RunConfig& config);
/// result_settings() of all categories.
nlohmann::json all_categories(const config::RunConfig& config);

}  // namespace dmoerm::run
