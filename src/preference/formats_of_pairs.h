// Data formats with two responses, one of which is stated to be better. Each function turns a row into a group.
#pragma once
#include <nlohmann/json_fwd.hpp>

#include "preference/group.h"

namespace dmoerm::preference {

// All of them throw RowError.
Group parse_chosen_rejected(const nlohmann::json& row);  ///< TRL's four formats and OpenRLHF's
/// The same for a row whose format the user has named: its prompt is what both responses begin with, whatever other columns hold.
Group parse_common_beginning(const nlohmann::json& row);
Group parse_rewardbench(const nlohmann::json& row);
Group parse_swift(const nlohmann::json& row);
Group parse_helpsteer_preference(const nlohmann::json& row);
Group parse_helpsteer3(const nlohmann::json& row);
Group parse_safe_rlhf(const nlohmann::json& row);
Group parse_arena(const nlohmann::json& row);
Group parse_authors_points(const nlohmann::json& row);

/// A row that states no preference, as `score` reads it: a prompt as in the formats of pairs, and "responses" (a list of texts)
/// or "response" (one text). @param column  the key of the prompt; null = as prompt_column() finds it. @throws RowError
Group parse_unlabelled(const nlohmann::json& row, const char* column = nullptr);

}  // namespace dmoerm::preference
