// The settings that decide a stage's output, as JSON: what its identity in the run directory holds.
#pragma once
#include <nlohmann/json_fwd.hpp>

#include "config/affects.h"
#include "config/run_config.h"

namespace dmoerm::config {

/// The keys of a section that affect one of the stages `affects`, with their values; words as words. Sections inside it are
/// objects, lists are arrays; what holds no such key is left out. Keys that affect a stage by content are left out too: the stage
/// adds the checksum of what they name. Defined for every section of RunConfig and for RunConfig itself.
template <class Section>
nlohmann::json settings_that_affect(const Section& section, Affects affects);

}  // namespace dmoerm::config
