// Data formats with any number of responses, ranked or scored. Each function turns a row into a group.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string_view>

#include "preference/group.h"

namespace dmoerm::preference {

/// Name of the label that holds the first number of a response's `overall_raters`, where it has several. A store keeps it only if
/// the category names it among its points.
inline constexpr std::string_view kFirstRater = "first_rater";

// All of them throw RowError.
Group parse_native(const nlohmann::json& row);
Group parse_authors_ranked(const nlohmann::json& row);
Group parse_nemo(const nlohmann::json& row);
Group parse_nectar(const nlohmann::json& row);
Group parse_ultrafeedback(const nlohmann::json& row);
Group parse_helpsteer(const nlohmann::json& row);

}  // namespace dmoerm::preference
