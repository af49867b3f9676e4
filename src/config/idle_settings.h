// Settings that the values of others make idle.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "config/problems.h"
#include "config/run_config.h"

namespace dmoerm::config {

/// A sentence with its place for each key that was given a value other than its default although the values of others take its
/// effect away, in the order of the file. `where` maps dotted keys to the places of their values.
std::vector<std::string> settings_without_effect(const RunConfig& config, const std::map<std::string, Position>& where,
                                                 const Problems& problems);

}  // namespace dmoerm::config
