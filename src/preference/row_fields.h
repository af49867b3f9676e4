// Typed access to the fields of a JSON row. What does not fit is a RowError: expected ..., found ...
#pragma once
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "preference/forms.h"

namespace dmoerm::preference {

/// A value as it stands in the row, shortened for a message.
std::string shown(const nlohmann::json& value);
/// The keys of a row, for a message; those that hold nothing are marked.
std::string keys_of(const nlohmann::json& row);
/// What nlohmann says, without its own name, without "line 1" (a row is one line) and without the text that it read.
std::string reason_of(const nlohmann::json::exception& e);
/// Whether all keys are there and not null.
bool has(const nlohmann::json& row, std::initializer_list<const char*> keys);
/// Whether the key holds a list that begins with an object.
bool has_objects(const nlohmann::json& row, const char* key);

const nlohmann::json& need(const nlohmann::json& row, const char* key);
const nlohmann::json& need_list(const nlohmann::json& row, const char* key);
std::string text_of(const nlohmann::json& value, const char* key);
/// A finite number.
double number_of(const nlohmann::json& value, const char* key);
/// number_of(), or kMissing for null.
double score_of(const nlohmann::json& value, const char* key);

/// A list of {role, content} or of ShareGPT's {from, value}, one such message, or a string as one of the user.
std::vector<Message> messages_of(const nlohmann::json& value, const char* key);
/// A transcript as Anthropic's HH writes it, "\n\nHuman: ...\n\nAssistant: ...", as messages; nothing if it is none.
std::vector<Message> transcript_of(const std::string& text);
/// messages_of(), a transcript as its turns, without a last empty turn of the assistant.
std::vector<Message> prompt_messages(const nlohmann::json& value, const char* key);
/// Put the system message that stands in a column of its own, `system` or `system_prompt`, before a prompt that has none.
void add_system(const nlohmann::json& row, std::vector<Message>& prompt);
/// prompt_messages() of the row's `key`, and add_system().
std::vector<Message> prompt_of(const nlohmann::json& row, const char* key);

/// The column in which a row of two responses has its prompt, or null: "prompt", or what else people call it.
const char* prompt_column(const nlohmann::json& row);

/// A response with the turns that stand before it in the same field.
struct Completion {
  std::vector<Message> before;
  std::string text;
};
/// A string, or messages that end with one of the assistant.
Completion completion_of(const nlohmann::json& value, const char* key);

/// id, split and category (`category`, `label` or `task_name`), where the row has them.
void read_common(const nlohmann::json& row, Group& group);

}  // namespace dmoerm::preference
