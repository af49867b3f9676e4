// Rows of well-known data sets that have a form of their own.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "preference/group.h"

namespace dmoerm::preference {

// Each parses one row. They throw RowError.
Group parse_shp(const nlohmann::json& row);
Group parse_webgpt(const nlohmann::json& row);
Group parse_summaries(const nlohmann::json& row);
Group parse_unpaired(const nlohmann::json& row);

/// Whether a row rates a single completion with true or false, as data for KTO does.
bool is_unpaired(const nlohmann::json& row);
/// What a row of no known format is, with a way to convert it, for a message; "" if that is not known.
std::string known_otherwise(const nlohmann::json& row);

}  // namespace dmoerm::preference
