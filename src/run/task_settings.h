// Settings that the identities of several stages share.
#pragma once
#include <nlohmann/json.hpp>

#include "config/identity.h"

namespace dmoerm::run {

/// The settings of a section that affect results, according to the table of settings.
template <class Section>
nlohmann::json result_settings(const Section& section) {
  return config::settings_that_affect(section, config::Affects::result);
}
/// result_settings() of all categories.
nlohmann::json all_categories(const config::RunConfig& config);

}  // namespace dmoerm::run
