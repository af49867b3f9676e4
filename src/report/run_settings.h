// What a run was made with: its settings by key, and the contents of the files and folders that they name.
#pragma once
#include <cstddef>
#include <map>
#include <string>

#include "report/run_facts.h"

namespace dmoerm::report {

/// Keys of contents_of() that every run has whose directory says all.
inline constexpr const char* kBackboneContent = "backbone.dir (content)";
std::string content_of_input(std::size_t input);

/// Key -> value of every setting in config.yaml, under today's names and in one spelling of each value. Elements of a list have
/// the name that people know them by in their key, and not their place: "categories.chat.score_gap_min". The key of the list has
/// all names in their order. A list of plain values is one value. Empty if the configuration cannot be read.
std::map<std::string, std::string> settings_of(const Run& run);

/// What decides of a setting that names a file, a folder or a device, as the run found it: "backbone.dir (content)" -> "SHA-256
/// 0f1e2d3c4b5a". What the run's directory does not say is left out.
std::map<std::string, std::string> contents_of(const Run& run);

}  // namespace dmoerm::report
