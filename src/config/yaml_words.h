// What a YAML parser's complaint means to the person who wrote the file.
#pragma once
#include <string>
#include <string_view>

namespace dmoerm::config {

/// The complaint in plain words, with what to do.
/// @param said  message of yaml-cpp
/// @param line  the line of the complaint, from 0
/// @param column  its column, from 0
std::string yaml_complaint(std::string_view said, std::string_view text, int line, int column);

}  // namespace dmoerm::config
