// What is said about a configuration: canonical YAML, a flat list of values, the difference between two, the reference of all
// keys.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "config/run_config.h"

namespace dmoerm::config {

/// Settings after defaults and overrides, in one canonical YAML text (keys in the order of the table).
std::string to_yaml(const RunConfig& config);

/// One key: "data.inputs.0.path" and its canonical text.
using FlatValue = std::pair<std::string, std::string>;

/// Every value of a configuration, in the order of the canonical YAML.
std::vector<FlatValue> flatten(const RunConfig& config);

/// Every key there is, list elements without their number: "data.inputs.path".
std::vector<std::string> all_keys();

/// The dotted keys whose values differ, one a line with both values: "base.lr: 1e-05 before, 2e-05 now", `a` being the earlier
/// configuration; "" if they are equal. Says what differs when a run directory was made with another configuration.
std::string difference(const RunConfig& a, const RunConfig& b);

/// Markdown reference of every key: type, default, range, what it affects, meaning. docs/configuration.md holds it.
std::string reference();

}  // namespace dmoerm::config
