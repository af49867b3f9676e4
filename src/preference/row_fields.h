// Typed access to the fields of a JSON row. A field that does not fit raises a RowError with "expected ..., found ...".
#pragma once
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "preference/group.h"

namespace dmoerm::preference {

/// A value as the row has it, shortened for a message.
std::string shown(const nlohmann::json& value);
/// The keys of a row, for a message. Keys whose value is null or an empty list are marked.
std::string keys_of(const nlohmann::json& row);
/// Whether the row has all keys with values other than null.
bool has(const nlohmann::json& row, std::initializer_list<const char*> keys);
/// Whether the value of the key is a list whose first element is an object.
bool has_objects(const nlohmann::json& row, const char* key);

// The functions below throw RowError.

const nlohmann::json& need(const nlohmann::json& row, const char* key);
const nlohmann::json& need_list(const nlohmann::json& row, const char* key);
std::string text_of(const nlohmann::json& value, const char* key);
/// A finite number that float32 can hold.
double number_of(const nlohmann::json& value, const char* key);
/// number_of(), or kMissing for null.
double score_of(const nlohmann::json& value, const char* key);

/// Messages from a list of {role, content} or of ShareGPT's {from, value}, from one such object, or from a string, which becomes
/// a message of the user.
std::vector<Message> messages_of(const nlohmann::json& value, const char* key);
/// Messages of a transcript as Anthropic's HH data have it, "\n\nHuman: ...\n\nAssistant: ...", also without the first line ends
/// or with "\r\n"; empty if the text is not one.
std::vector<Message> transcript_of(const std::string& text);
/// messages_of(), but a transcript becomes its turns, as does a text with HelpSteer's marks of turns, and an empty last turn of
/// the assistant is removed.
std::vector<Message> prompt_messages(const nlohmann::json& value, const char* key);
/// Put the system message of the column `system` or `system_prompt` before a prompt that has none.
void add_system(const nlohmann::json& row, std::vector<Message>& prompt);
/// prompt_messages() of the row's `key`, and add_system().
std::vector<Message> prompt_of(const nlohmann::json& row, const char* key);

/// The column that holds the prompt of a row with two responses: "prompt" or another common name; null if there is none.
const char* prompt_column(const nlohmann::json& row);
/// The same for a row with "chosen" and "rejected", whose prompt may also be in "messages", "trajectory" or "conversation".
const char* pair_prompt_column(const nlohmann::json& row);

/// A response with the turns before it in the same field.
struct Completion {
  std::vector<Message> before;
  std::string text;
};
/// A completion from a string, or from messages whose last one is the assistant's.
Completion completion_of(const nlohmann::json& value, const char* key);

/// A response to `prompt` from a string, or from messages: the assistant's alone, or the whole conversation.
std::string response_text(const nlohmann::json& value, const char* key, const std::vector<Message>& prompt);

/// Read the id, the split and the category (`category`, `label` or `task_name`) if the row has them.
void read_common(const nlohmann::json& row, Group& group);

}  // namespace dmoerm::preference
