// A prompt with responses to score, as `dmoerm score` and the server read it from a row.
#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "preference/group.h"

namespace dmoerm::preference {

struct Question {
  nlohmann::json id;  ///< the row's "id", as it stands; null = none
  std::vector<Message> prompt;
  std::vector<std::string> responses;  ///< at least one
};

/// The keys that a row without a preference may have.
const std::vector<std::string>& question_keys();
/// Whether a row has the columns of a data format, and so perhaps others that say nothing here.
bool is_row_of_data(const nlohmann::json& row);

/// Reads "prompt" (or "messages", or another common name) with "response" or "responses", "messages" that end with the response,
/// or a row of any data format. Each text shows something. @throws RowError
Question question_of(const nlohmann::json& row);

}  // namespace dmoerm::preference
