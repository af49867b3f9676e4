// Every value of a configuration as (dotted key, text), in the order of the canonical YAML.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "config/run_config.h"

namespace dmoerm::config {

/// One key: "data.inputs.0.path" and its canonical text.
using FlatValue = std::pair<std::string, std::string>;

std::vector<FlatValue> flatten(const RunConfig& config);

/// Every key there is, list elements without their number: "data.inputs.path".
std::vector<std::string> all_keys();

}  // namespace dmoerm::config
