// From YAML to a checked RunConfig.
#pragma once
#include <string>
#include <vector>

#include "config/run_config.h"

namespace dmoerm::config {

/// Read a YAML file, apply `overrides` ("base.lr=1e-5" style paths, as given to --set), check every value's range.
/// Relative paths inside the file (backbone.dir, data.inputs[].path) are taken relative to the file's directory; `${NAME}` and
/// `${NAME:-default}` in string values are replaced from the environment. Keys of earlier versions are read by their new names.
/// @param warnings  gets a sentence with its place for each key that has another name now or no effect; nullptr: they go to the
/// log
/// @throws ConfigError with all problems at once, one a line: file:line:column: key: what is wrong, nearest right key
RunConfig read_run_config(const std::string& path, const std::vector<std::string>& overrides,
                          std::vector<std::string>* warnings = nullptr);

/// read_run_config() of a text; `file` is the name used in messages and `directory` the base of relative paths.
RunConfig parse_run_config(const std::string& text, const std::string& file, const std::string& directory,
                           const std::vector<std::string>& overrides, std::vector<std::string>* warnings = nullptr);

}  // namespace dmoerm::config
