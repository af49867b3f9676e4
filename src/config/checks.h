// Checks between the values of several keys.
#pragma once
#include <map>
#include <string>

#include "config/problems.h"
#include "config/run_config.h"

namespace dmoerm::config {

/// Check the values against each other. `where` maps dotted keys to the places of their values.
void check_together(const RunConfig& config, const std::map<std::string, Position>& where, Problems& problems);

}  // namespace dmoerm::config
