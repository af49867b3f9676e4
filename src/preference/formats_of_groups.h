// Data formats with any number of responses, ranked or scored. Each function turns a row into a group.
#pragma once
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "preference/group.h"

namespace dmoerm::preference {

/// Name of the label that holds the first number of a response's `overall_raters`, where it has several. A store keeps it only if
/// the category names it among its points.
inline constexpr std::string_view kFirstRater = "first_rater";

/// What single raters gave the responses of a row of parse_native(): "overall" from `overall_raters`, points from
/// `scores_raters`.
/// @return label -> [response][rater] in the order of the row, kMissing for null, an empty list for a response without raters;
/// nothing
///   for a row without raters or of another format
/// @throws RowError
std::map<std::string, std::vector<std::vector<double>>> rater_scores(const nlohmann::json& row);

// All of them throw RowError.
Group parse_native(const nlohmann::json& row);
Group parse_authors_ranked(const nlohmann::json& row);
Group parse_nemo(const nlohmann::json& row);
Group parse_nectar(const nlohmann::json& row);
Group parse_ultrafeedback(const nlohmann::json& row);
Group parse_helpsteer(const nlohmann::json& row);

}  // namespace dmoerm::preference
