#include "preference/row_advice.h"

#include <fmt/format.h>

#include <array>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "preference/file_layout.h"
#include "preference/formats.h"
#include "preference/formats_of_datasets.h"
#include "preference/row_fields.h"

namespace dmoerm::preference {

using nlohmann::json;

namespace {

/// "rename accepted to chosen" where the two texts of a pair have names of another program; "" if they have not.
std::string names_of_pair(const json& row) {
  constexpr std::array<std::pair<const char*, const char*>, 15> kNames = {{{"accepted", "rejected"},
                                                                           {"chosen_response", "rejected_response"},
                                                                           {"response_chosen", "response_rejected"},
                                                                           {"chosen_text", "rejected_text"},
                                                                           {"output_chosen", "output_rejected"},
                                                                           {"preferred", "rejected"},
                                                                           {"preferred", "dispreferred"},
                                                                           {"preferred", "non_preferred"},
                                                                           {"preferred_response", "rejected_response"},
                                                                           {"positive", "negative"},
                                                                           {"pos", "neg"},
                                                                           {"better", "worse"},
                                                                           {"good", "bad"},
                                                                           {"win", "lose"},
                                                                           {"response_j", "response_k"}}};
  for (const auto& [chosen, rejected] : kNames) {
    if (!row.contains(chosen) || !row.contains(rejected)) continue;
    const std::string other =
        std::string_view(rejected) == "rejected" ? "" : fmt::format(" and \"{}\" to \"rejected\"", rejected);
    return fmt::format("rename \"{}\" to \"chosen\"{}, if these are the better and the worse response", chosen, other);
  }
  for (const auto& [key, value] : row.items()) {  // answer_chosen beside answer_rejected
    const std::size_t at = key.find("chosen");
    if (at == std::string::npos || key == "chosen" || (!value.is_string() && !value.is_array())) continue;
    const std::string rejected = std::string(key).replace(at, 6, "rejected");
    if (row.contains(rejected) && row[rejected].type() == value.type())
      return fmt::format("rename \"{}\" to \"chosen\" and \"{}\" to \"rejected\", if these are the better and the worse response",
                         key, rejected);
  }
  return "";
}

/// The line of jq that makes a row of a known format out of one that another program or site writes; "" if none does.
std::string line_of_jq(const json& row) {
  if (has(row, {"prompt", "response_a", "response_b"}) && row.contains("winner_model_a") && row.contains("winner_model_b"))
    return "jq -c '{prompt, response_1: .response_a, response_2: .response_b, "
           "preference_strength: ((.winner_model_b | tonumber) - (.winner_model_a | tonumber))}' FILE "
           "(where texts are lists of turns as JSON, keep the rows of one turn with select((.prompt | fromjson | length) == 1), "
           "and "
           "write (.prompt | fromjson | first) for a text: two dialogues of several turns part before their last answers)";
  if (prompt_column(row) != nullptr && row.contains("generations") && row["generations"].is_array() && row.contains("ratings") &&
      row["ratings"].is_array())
    return fmt::format(
        "jq -c '{{prompt: .{}, responses: [[.generations, .ratings] | transpose[] | {{text: .[0], overall: .[1]}}]}}' FILE",
        prompt_column(row));
  if (row.contains("input") && has_objects(row["input"], "messages") && has(row, {"preferred_output", "non_preferred_output"}))
    return "jq -c '{messages: .input.messages, chosen: .preferred_output, rejected: .non_preferred_output}' FILE";
  if (has_objects(row, "contents") && has_objects(row, "completions") && has(row["completions"][0], {"score", "completion"}))
    return "jq -c '{prompt: .contents, responses: [.completions[] | {text: ([.completion.parts[].text] | add), overall: "
           ".score}]}' "
           "FILE";
  if (has(row, {"conv_A", "conv_B", "conv_A_rating", "conv_B_rating"}))
    return "jq -c '{conversation_a: .conv_A, conversation_b: .conv_B, winner: (if .conv_A_rating > .conv_B_rating then "
           "\"model_a\" "
           "elif .conv_A_rating < .conv_B_rating then \"model_b\" else \"tie\" end)}' FILE";
  if (row.contains("output") && row["output"].is_array() && row["output"].size() == 2 && prompt_column(row) != nullptr)
    return "jq -c '. + {chosen: .output[0], rejected: .output[1]} | del(.output)' FILE, if the first output is the better one";
  if (has_typed_values(row)) return "jq -c 'map_values(.S // .N // .)' FILE";
  const auto is_row = [](const json& value) { return value.is_object() && detect_format(value) != nullptr; };
  if (row.size() > 1 && std::ranges::all_of(row, is_row)) return "jq -c '.[]' FILE, as each of its keys holds a row";
  for (const auto& [key, value] : row.items()) {
    if (value.is_object() && detect_format(value) != nullptr) return fmt::format("jq -c '.[{}]' FILE", json(key).dump());
  }
  return "";
}

/// What keeps a row with a verdict on one answer from the format unpaired; "" if it has no such verdict.
std::string names_of_unpaired(const json& row) {
  if (verdict_key(row) == nullptr || prompt_column(row) == nullptr) return "";
  for (const char* name : {"response", "output", "answer", "text"}) {
    if (row.contains(name))
      return fmt::format("rename \"{}\" to \"completion\", if \"{}\" says true or false of it (format unpaired)", name,
                         verdict_key(row));
  }
  return "";
}

/// Whether the row is what training on one answer takes: it prefers nothing.
bool has_one_answer(const json& row) {
  if (row.size() > 8 || verdict_key(row) != nullptr) return false;
  for (const char* several : {"chosen", "rejected", "responses", "completions", "answers", "winner", "rejected_response"})
    if (row.contains(several)) return false;
  if (has_objects(row, "messages") || has_objects(row, "conversations")) return true;
  const bool asked = prompt_column(row) != nullptr || row.contains("instruction");
  return asked && (row.contains("output") || row.contains("completion") || row.contains("response") || row.contains("answer"));
}

/// The words of a server that sent an error in place of data; "" if the row is none.
std::string error_of_server(const json& row) {
  if (row.empty() || row.size() > 4) return "";
  for (const char* key : {"error", "detail", "message", "errorMessage"}) {
    const bool says = row.contains(key) && (row[key].is_string() || (row[key].is_object() && row[key].contains("message")));
    if (says) return shown(row[key].is_string() ? row[key] : row[key]["message"]);
  }
  return "";
}

}  // namespace

std::string known_otherwise(const json& row) {
  if (!row.is_object()) return "";
  if (const std::string names = names_of_pair(row); !names.empty()) return names;
  if (const std::string line = line_of_jq(row); !line.empty()) return "convert the rows with " + line;
  if (const std::string error = error_of_server(row); !error.empty())
    return fmt::format("this is perhaps the error of a server that sent no data, {}: download the file again", error);
  if (const std::string names = names_of_unpaired(row); !names.empty()) return names;
  if (has_one_answer(row))
    return "this is a row for training on one answer; preference data have two or more answers to a prompt, and say which is "
           "better";
  const bool message = has(row, {"message_id", "text", "role"});
  const bool tree = row.contains("prompt") && row["prompt"].is_object() && row["prompt"].contains("replies");
  if (!message && !tree) return "";
  return fmt::format(
      "this is {} of OASST: the ranked replies to one message are a group, and only the whole file shows them; convert it with "
      "the script of docs/data.md (\"Trees of messages\")",
      message ? "one message of a tree" : "a tree of messages");
}

}  // namespace dmoerm::preference
