#include "preference/question.h"

#include <fmt/format.h>

#include "preference/formats.h"
#include "preference/formats_of_pairs.h"
#include "preference/row_checks.h"
#include "preference/row_error.h"
#include "preference/row_fields.h"

namespace dmoerm::preference {

using nlohmann::json;

namespace {

/// Whether a value is a response by itself: a text, one message, or several.
bool is_text(const json& r) {
  return r.is_string() || (r.is_object() && !r.contains("text")) || (r.is_array() && !r.empty() && r[0].is_object());
}

bool has_responses(const json& row) {
  const json several = row.value("responses", json()), one = row.value("response", json());
  return is_text(one) || several.is_string() || (several.is_array() && !several.empty() && is_text(several[0]));
}

/// The group of {"messages": [..., the response]}.
Group conversation_of(const json& row) {
  Completion all = completion_of(row["messages"], "messages");
  if (all.before.empty())
    throw RowError("no-prompt", "\"messages\": expected a prompt before the last message, found this message alone");
  Group group;
  group.prompt = std::move(all.before);
  add_system(row, group.prompt);
  group.responses.push_back({std::move(all.text), kMissing, {}});
  return group;
}

/// Refuses responses that are no texts. @throws RowError showing what stands there
void expect_texts(const json& row) {
  const json several = row.value("responses", json()), one = row.value("response", json());
  if (!one.is_null() && !is_text(one)) {
    const char* more = one.is_array() && !one.empty() ? "; several stand under \"responses\"" : "";
    throw RowError("field-of-wrong-type", fmt::format("\"response\": expected one text, found {}{}", shown(one), more));
  }
  if (!several.is_null() && !several.is_string() && !(several.is_array() && !several.empty() && is_text(several[0])))
    throw RowError("field-of-wrong-type", fmt::format("\"responses\": expected texts, found {}", shown(several)));
}

/// The group of a row that states no preference.
Group unlabelled_of(const json& row) {
  expect_texts(row);
  const bool in_messages = has_objects(row, "messages") && prompt_column(row) == nullptr;
  if (has_responses(row)) return parse_unlabelled(row, in_messages ? "messages" : nullptr);
  if (in_messages) return conversation_of(row);
  throw RowError("nothing-to-score",
                 fmt::format("expected \"prompt\" and \"responses\", \"prompt\" and \"response\", \"messages\" that end with the "
                             "response, or a row of a data format that `dmoerm ingest --formats` lists, found the keys {}",
                             keys_of(row)));
}

Group group_of(const json& row) {
  if (!has_responses(row)) {
    if (const Format* format = detect_format(row)) return parse_group(*format, row);
  }
  expect_text_only(row);
  Group group = unlabelled_of(row);
  check_texts(group);
  return group;
}

}  // namespace

const std::vector<std::string>& question_keys() {
  static const std::vector<std::string> kKeys = {"prompt",        "question",         "instruction",   "query",     "input",
                                                 "context",       "context_messages", "conversations", "messages",  "system",
                                                 "system_prompt", "history",          "response",      "responses", "id"};
  return kKeys;
}

bool is_row_of_data(const json& row) { return detect_format(row) != nullptr; }

Question question_of(const json& row) {
  if (!row.is_object()) throw RowError("row-is-not-an-object", fmt::format("expected a JSON object, found {}", shown(row)));
  if (const json several = row.value("responses", json()); several.is_array() && several.empty())
    throw RowError("no-responses", "\"responses\": expected at least one text, found an empty list");
  Group group = group_of(row);
  Question question{row.value("id", json()), std::move(group.prompt), {}};
  for (Response& r : group.responses) question.responses.push_back(std::move(r.text));
  return question;
}

}  // namespace dmoerm::preference
