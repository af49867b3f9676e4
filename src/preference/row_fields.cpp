#include "preference/row_fields.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <optional>
#include <string_view>
#include <utility>

#include "base/json_text.h"
#include "base/text.h"
#include "preference/role.h"
#include "preference/row_checks.h"
#include "preference/row_error.h"

namespace dmoerm::preference {

using nlohmann::json;

namespace {

std::string shorten(std::string text, std::size_t most) {
  if (text.size() <= most) return text;
  return std::string(utf8_prefix(text, most - 3)) + "...";
}

/// Gemini and Bedrock write parts without a type, whose key says what they are: {"functionCall": {...}}. That key; null for a
/// part with a text, or with a key that is not known.
const char* other_part(const json& part) {
  constexpr std::array kOthers = {"functionCall", "function_call", "functionResponse", "function_response", "toolUse",
                                  "tool_use",     "toolResult",    "tool_result",      "executableCode",    "codeExecutionResult",
                                  "inlineData",   "inline_data",   "fileData",         "file_data",         "image",
                                  "video",        "audio",         "document",         "reasoningContent"};
  if (!part.is_object() || has(part, {"text"})) return nullptr;
  const auto* const found =
      std::ranges::find_if(kOthers, [&](const char* key) { return has(part, {key}) && part[key].is_object(); });
  return found == kOthers.end() ? nullptr : *found;
}

/// Refuse an element of a conversation that calls a tool, or is what it returned, without a role: an item of OpenAI's responses,
/// or a message to another recipient than the user.
void expect_no_tool(const json& m) {
  if (!m.is_object()) return;
  if (has(m, {"recipient"}) && m["recipient"].is_string()) {
    const std::string to = lower(trim(m["recipient"].get_ref<const std::string&>()));
    if (!to.empty() && to != "all" && role_kind(to) != RoleKind::user && role_kind(to) != RoleKind::assistant)
      throw RowError::unusable("tool-role-in-message",
                               fmt::format("a message to the recipient {}: no chat template here writes tools", to));
  }
  if (has(m, {"role"}) || has(m, {"from"}) || !has(m, {"type"}) || !m["type"].is_string()) return;
  const auto& type = m["type"].get_ref<const std::string&>();
  if (type.ends_with("_call") || type.ends_with("_call_output") || type == "reasoning" || type.starts_with("mcp_"))
    throw RowError::unusable("tool-role-in-message",
                             fmt::format("an item of the type {} between messages: no chat template here writes tools", type));
}

/// The text of a message, from a string or from OpenAI's list of parts.
std::string content_of(const json& content, const char* key) {
  if (!content.is_array()) return text_of(content, key);
  std::string text;
  expect_more_than_reasoning(content, key);
  for (const json& part : content) {
    if (is_reasoning_part(part)) continue;
    if (part.is_string()) {
      text += part.get_ref<const std::string&>();
      continue;
    }
    const char* other = other_part(part);
    const std::string type = has(part, {"type"}) ? text_of(part["type"], "type") : other != nullptr ? other : "text";
    if (type != "text" && type != "input_text" && type != "output_text")
      throw RowError::unusable("part-is-not-text", fmt::format("\"{}\" with a part of type {}: only text is read", key, type));
    expect_text_only(part);
    text += text_of(need(part, "text"), "text");
  }
  return text;
}

Message message_of(const json& m, const char* key) {
  const bool sharegpt = m.is_object() && !has(m, {"role"}) && has(m, {"from"});
  const char *role = sharegpt ? "from" : "role", *content = sharegpt ? "value" : "content";
  expect_text_only(m);
  expect_no_tool(m);
  const RoleKind kind = m.is_object() && has(m, {role}) ? role_kind(text_of(m[role], role)) : RoleKind::unknown;
  if (kind == RoleKind::tool)
    throw RowError::unusable("tool-role-in-message",
                             fmt::format("a message of the role {}: no chat template here writes tools", text_of(m[role], role)));
  if (!m.is_object() || !m.contains(role) || !m.contains(content))
    throw RowError("not-messages",
                   fmt::format("\"{}\": expected messages {{\"{}\", \"{}\"}}, found {}", key, role, content, shown(m)));
  if (kind == RoleKind::unknown) {
    throw RowError("unknown-role", fmt::format("\"{}\": expected the role system, user or assistant{}, found {}", key,
                                               sharegpt ? " (human, gpt)" : "", shown(m[role])));
  }
  const char* name = kind == RoleKind::system ? "system" : kind == RoleKind::user ? "user" : "assistant";
  return {name, content_of(m[content], content)};
}

/// Whether a message is a system prompt that says nothing, as tables have where it is optional.
bool is_silent_system(const json& m) {
  if (!m.is_object()) return false;
  const char *role = has(m, {"role"}) ? "role" : "from", *content = m.contains("content") ? "content" : "value";
  if (!has(m, {role}) || !m[role].is_string() || role_kind(m[role].get<std::string>()) != RoleKind::system) return false;
  if (!m.contains(content)) return false;
  return m[content].is_null() || (m[content].is_string() && shows_nothing(m[content].get_ref<const std::string&>()));
}

/// Refuse a text that stands in place of a number. Spreadsheets may write a comma for the point.
[[noreturn]] void refuse_text(const std::string& text, const char* key) {
  std::string digits(trim(text));
  std::ranges::replace(digits, ',', '.');
  double value = 0;
  const char* begin = digits.data() + (digits.starts_with('+') ? 1 : 0);
  const auto [end, error] = std::from_chars(begin, digits.data() + digits.size(), value);
  const bool is_number = error == std::errc() && end == digits.data() + digits.size();
  if (is_number && std::isfinite(value))
    throw RowError("number-in-quotes", fmt::format("\"{}\": expected a number, found the text {}: write {} without quotes, as "
                                                   "pd.to_numeric does for columns of pandas",
                                                   key, shown(json(text)), value));
  const std::string why = fmt::format("\"{}\": expected a finite number, found the text {}", key, shown(json(text)));
  if (is_number) throw RowError("number-not-finite", why);
  throw RowError("field-of-wrong-type", why);
}

/// The split of a word in lower case. Sets of the Hub have splits for several purposes, such as train_prefs and test_sft.
std::optional<Split> split_named(std::string_view word) {
  for (const std::string_view purpose : {"_prefs", "_preference", "_preferences", "_sft", "_gen", "_dpo", "_rm", "_pairs"}) {
    if (word.ends_with(purpose)) {
      word.remove_suffix(purpose.size());
      break;
    }
  }
  if (word == "train" || word == "training") return Split::train;
  if (word == "test" || word == "testing") return Split::test;
  for (const std::string_view name : {"validation", "valid", "val", "dev", "valid1", "valid2", "eval"}) {
    if (word == name) return Split::validation;
  }
  return std::nullopt;
}

}  // namespace

std::string shown(const json& value) { return shorten(json_line(value), 80); }

std::string keys_of(const json& row) {
  if (!row.is_object() || row.empty()) return "none: it is " + shown(row);
  std::string keys;
  for (const auto& [key, value] : row.items()) {
    const char* what = value.is_null() ? " (null)" : value.is_array() && value.empty() ? " (empty)" : "";
    keys += (keys.empty() ? "" : ", ") + key + what;
  }
  return shorten(keys, 200);
}

bool has(const json& row, std::initializer_list<const char*> keys) {
  for (const char* key : keys) {
    if (!row.contains(key) || row[key].is_null()) return false;
  }
  return true;
}

bool has_objects(const json& row, const char* key) {
  return row.contains(key) && row[key].is_array() && !row[key].empty() && row[key][0].is_object();
}

const json& need(const json& row, const char* key) {
  if (!row.is_object() || !row.contains(key))
    throw RowError("missing-key", fmt::format("expected the key \"{}\", found {}", key, shown(row)));
  return row[key];
}

const json& need_list(const json& row, const char* key) {
  const json& value = need(row, key);
  if (!value.is_array())
    throw RowError("field-of-wrong-type", fmt::format("\"{}\": expected a list, found {}", key, shown(value)));
  return value;
}

std::string text_of(const json& value, const char* key) {
  if (!value.is_string())
    throw RowError("field-of-wrong-type", fmt::format("\"{}\": expected a string, found {}", key, shown(value)));
  return value.get<std::string>();
}

double number_of(const json& value, const char* key) {
  if (value.is_string()) refuse_text(value.get_ref<const std::string&>(), key);
  if (!value.is_number())
    throw RowError("field-of-wrong-type", fmt::format("\"{}\": expected a finite number, found {}", key, shown(value)));
  if (!std::isfinite(value.get<double>())) {
    throw RowError("number-not-finite", fmt::format("\"{}\": expected a finite number, found {}", key, shown(value)));
  }
  const double number = value.get<double>();
  if (std::abs(number) > std::numeric_limits<float>::max()) {
    throw RowError("number-too-large",
                   fmt::format("\"{}\": expected a number that float32 can hold, found {}", key, shown(value)));
  }
  return number;
}

double score_of(const json& value, const char* key) { return value.is_null() ? kMissing : number_of(value, key); }

std::vector<Message> messages_of(const json& value, const char* key) {
  if (value.is_string()) return {{"user", value.get<std::string>()}};
  if (value.is_object()) return {message_of(value, key)};
  if (!value.is_array()) {
    throw RowError("not-messages", fmt::format("\"{}\": expected a string or a list of messages, found {}", key, shown(value)));
  }
  std::vector<Message> messages;
  for (const json& m : value) {
    if (value.size() == 1 || !is_silent_system(m)) messages.push_back(message_of(m, key));
  }
  return messages;
}

namespace {

/// The text with "\n" for every "\r\n", and what begins like a transcript without its two line ends with them.
std::string as_transcript(std::string_view text) {
  std::string result(text);
  for (std::size_t at = 0; (at = result.find("\r\n", at)) != std::string::npos;) result.erase(at, 1);
  return result.starts_with("\n\nHuman:") ? result : "\n\n" + result.substr(result.find_first_not_of(kWhiteSpace));
}

/// A mark of HelpSteer at the beginning of a line, before a turn of `role`.
struct TurnMark {
  std::string_view text;
  const char* role;
  std::size_t at;
};

/// The first mark at or after `from`; nothing if there is none.
std::optional<TurnMark> next_mark(std::string_view text, std::size_t from) {
  constexpr std::string_view kBegin = "<extra_id_";
  for (std::size_t at = from; (at = text.find(kBegin, at)) != std::string_view::npos; at += kBegin.size()) {
    if (at > 0 && text[at - 1] != '\n') continue;
    for (const auto& [mark, role] : {std::pair<std::string_view, const char*>{"<extra_id_0>System\n", "system"},
                                     {"<extra_id_1>User\n", "user"},
                                     {"<extra_id_1>Assistant\n", "assistant"}}) {
      if (text.substr(at).starts_with(mark)) return TurnMark{mark, role, at};
    }
  }
  return std::nullopt;
}

/// Turns of a prompt as HelpSteer writes them: "first\n<extra_id_1>Assistant\nsecond\n<extra_id_1>User\nthird"; empty if the text
/// has no such mark.
std::vector<Message> helpsteer_turns(std::string_view text) {
  std::vector<Message> messages;
  const char* role = "user";
  std::size_t from = 0;
  auto mark = next_mark(text, 0);
  if (!mark) return messages;
  for (; mark; mark = next_mark(text, from)) {
    if (mark->at > 0) messages.push_back({role, std::string(trim(text.substr(from, mark->at - from), "\n"))});
    role = mark->role;
    from = mark->at + mark->text.size();
  }
  messages.push_back({role, std::string(text.substr(from))});
  return messages;
}

}  // namespace

std::vector<Message> transcript_of(const std::string& given) {
  constexpr std::pair<std::string_view, const char*> kTurns[] = {{"\n\nHuman:", "user"}, {"\n\nAssistant:", "assistant"}};
  if (!trim(given).starts_with("Human:")) return {};
  const std::string text = as_transcript(given);
  if (text.find(kTurns[1].first) == std::string::npos) return {};
  std::vector<Message> messages;
  for (std::size_t at = 0; at < text.size();) {
    const auto& [mark, role] = kTurns[text.compare(at, kTurns[0].first.size(), kTurns[0].first) == 0 ? 0 : 1];
    at += mark.size();
    const std::size_t end = std::min({text.find(kTurns[0].first, at), text.find(kTurns[1].first, at), text.size()});
    if (at < end && text[at] == ' ') ++at;
    messages.push_back({role, text.substr(at, end - at)});
    at = end;
  }
  return messages;
}

std::vector<Message> prompt_messages(const json& value, const char* key) {
  std::vector<Message> prompt = value.is_string() ? transcript_of(value.get<std::string>()) : messages_of(value, key);
  if (prompt.empty() && value.is_string()) prompt = helpsteer_turns(value.get_ref<const std::string&>());
  if (prompt.empty() && value.is_string()) prompt = messages_of(value, key);
  if (prompt.size() > 1 && prompt.back().role == "assistant" && shows_nothing(prompt.back().content))
    prompt.pop_back();  // it only marks where the response begins
  return prompt;
}

void add_system(const json& row, std::vector<Message>& prompt) {
  for (const char* column : {"system", "system_prompt"}) {
    if (prompt.empty() || shows_nothing(prompt.back().content) || prompt.front().role == "system") return;
    if (!row.contains(column)) continue;
    std::string text;
    if (row[column].is_string()) text = row[column].get<std::string>();
    if (row[column].is_structured() && !row[column].empty()) text = messages_of(row[column], column).front().content;
    if (!shows_nothing(text)) prompt.insert(prompt.begin(), {"system", std::move(text)});
  }
}

std::vector<Message> prompt_of(const json& row, const char* key) {
  std::vector<Message> prompt = prompt_messages(row[key], key);
  add_system(row, prompt);
  return prompt;
}

Completion completion_of(const json& value, const char* key) {
  if (value.is_string()) return {{}, value.get<std::string>()};
  std::vector<Message> messages = messages_of(value, key);
  if (messages.empty() || messages.back().role != "assistant") {
    throw RowError("last-message-not-assistant",
                   fmt::format("\"{}\": expected a last message of role assistant, found {}", key, shown(value)));
  }
  std::string text = std::move(messages.back().content);
  messages.pop_back();
  return {std::move(messages), std::move(text)};
}

std::string response_text(const json& value, const char* key, const std::vector<Message>& prompt) {
  if (value.is_string()) return value.get<std::string>();
  if (!value.is_array() && !value.is_object()) return text_of(value, key);
  Completion completion = completion_of(value, key);
  const auto same = [](const Message& a, const Message& b) { return a.role == b.role && a.content == b.content; };
  if (!completion.before.empty() && !std::ranges::equal(completion.before, prompt, same)) {
    throw RowError("response-of-several-messages",
                   fmt::format("\"{}\": expected a text, one message of the assistant, or the prompt and this message, found {}",
                               key, shown(value)));
  }
  return std::move(completion.text);
}

const char* prompt_column(const json& row) {
  for (const char* key :
       {"prompt", "question", "instruction", "query", "input", "context", "context_messages", "conversations"}) {
    if (row.contains(key) && (row[key].is_string() || row[key].is_array())) return key;
  }
  return nullptr;
}

const char* pair_prompt_column(const json& row) {
  if (const char* column = prompt_column(row); column != nullptr) return column;
  for (const char* key : {"messages", "trajectory", "conversation"}) {
    if (row.contains(key) &&
        ((row[key].is_string() && !is_blank(row[key].get_ref<const std::string&>())) || has_objects(row, key)))
      return key;
  }
  return nullptr;
}

void read_common(const json& row, Group& group) {
  if (has(row, {"category"}) && !row["category"].is_string()) {
    if (!row["category"].is_number_integer())
      throw RowError("field-of-wrong-type",
                     fmt::format("\"category\": expected a text or a whole number, found {}", shown(row["category"])));
    group.category = row["category"].dump();
  }
  for (const char* key : {"category", "label", "task_name"}) {
    if (group.category.empty() && row.contains(key) && row[key].is_string())
      group.category = trim(row[key].get_ref<const std::string&>());
  }
  if (has(row, {"id"}) && row["id"].is_string()) group.id = row["id"].get<std::string>();
  if (has(row, {"id"}) && row["id"].is_number_integer()) group.id = row["id"].dump();
  if (!has(row, {"split"})) return;
  const std::string split = lower(trim(text_of(row["split"], "split")));
  if (split.empty()) return;
  const std::optional<Split> known = split_named(split);
  if (!known)
    throw RowError("unknown-split", fmt::format("\"split\": expected train, validation or test, found {}", shown(row["split"])));
  group.split = *known;
}

}  // namespace dmoerm::preference
