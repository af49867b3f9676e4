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
/// The key of a row that says whether its completion is good: label or kto_tag; null if there is none.
const char* verdict_key(const nlohmann::json& row);

}  // namespace dmoerm::preference
