#include "pair/row_fields.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>

namespace dmoerm::pair {

using nlohmann::json;

namespace {

std::string shorten(std::string text, std::size_t most) {
  if (text.size() <= most) return text;
  std::size_t end = most - 3;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80) --end;  // not inside a character
  return text.substr(0, end) + "...";
}

}  // namespace

std::string shown(const json& value) { return shorten(value.dump(-1, ' ', false, json::error_handler_t::replace), 80); }

std::string keys_of(const json& row) {
  if (!row.is_object()) return "none: it is " + shown(row);
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
  if (!row.is_object() || !row.contains(key)) throw RowError(fmt::format("expected the key \"{}\", found {}", key, shown(row)));
  return row[key];
}

const json& need_list(const json& row, const char* key) {
  const json& value = need(row, key);
  if (!value.is_array()) throw RowError(fmt::format("\"{}\": expected a list, found {}", key, shown(value)));
  return value;
}

std::string text_of(const json& value, const char* key) {
  if (!value.is_string()) throw RowError(fmt::format("\"{}\": expected a string, found {}", key, shown(value)));
  return value.get<std::string>();
}

double number_of(const json& value, const char* key) {
  if (!value.is_number() || !std::isfinite(value.get<double>())) {
    throw RowError(fmt::format("\"{}\": expected a finite number, found {}", key, shown(value)));
  }
  const double number = value.get<double>();
  if (std::abs(number) > std::numeric_limits<float>::max()) {
    throw RowError(fmt::format("\"{}\": expected a number that float32 can hold, found {}", key, shown(value)));
  }
  return number;
}

double score_of(const json& value, const char* key) { return value.is_null() ? kMissing : number_of(value, key); }

std::vector<Message> messages_of(const json& value, const char* key) {
  if (value.is_string()) return {{"user", value.get<std::string>()}};
  if (!value.is_array()) {
    throw RowError(fmt::format("\"{}\": expected a string or a list of messages, found {}", key, shown(value)));
  }
  std::vector<Message> messages;
  for (const json& m : value) {
    if (!m.is_object() || !m.contains("role") || !m.contains("content")) {
      throw RowError(fmt::format("\"{}\": expected messages {{\"role\", \"content\"}}, found {}", key, shown(m)));
    }
    for (const char* calls : {"tool_calls", "function_call"}) {
      if (has(m, {calls}) && !m[calls].empty())
        throw RowError::unusable(fmt::format("a message with \"{}\": no chat template here writes them", calls));
    }
    Message message{text_of(m["role"], "role"), text_of(m["content"], "content")};
    if (message.role != "system" && message.role != "user" && message.role != "assistant") {
      throw RowError(fmt::format("\"{}\": expected the role system, user or assistant, found {}", key, shown(m["role"])));
    }
    messages.push_back(std::move(message));
  }
  return messages;
}

void add_system(const json& row, std::vector<Message>& prompt) {
  for (const char* column : {"system", "system_prompt"}) {
    if (prompt.empty() || prompt.back().content.empty() || prompt.front().role == "system") return;
    if (!row.contains(column) || !row[column].is_string()) continue;
    if (std::string text = row[column].get<std::string>(); !text.empty())
      prompt.insert(prompt.begin(), {"system", std::move(text)});
  }
}

std::vector<Message> prompt_of(const json& row, const char* key) {
  std::vector<Message> prompt = messages_of(row[key], key);
  add_system(row, prompt);
  return prompt;
}

Completion completion_of(const json& value, const char* key) {
  if (value.is_string()) return {{}, value.get<std::string>()};
  std::vector<Message> messages = messages_of(value, key);
  if (messages.empty() || messages.back().role != "assistant") {
    throw RowError(fmt::format("\"{}\": expected a last message of role assistant, found {}", key, shown(value)));
  }
  std::string text = std::move(messages.back().content);
  messages.pop_back();
  return {std::move(messages), std::move(text)};
}

const char* prompt_column(const json& row) {
  for (const char* key : {"prompt", "question", "instruction", "query", "input", "context", "context_messages"}) {
    if (row.contains(key) && (row[key].is_string() || row[key].is_array())) return key;
  }
  return nullptr;
}

void read_common(const json& row, Group& group) {
  for (const char* key : {"category", "label", "task_name"}) {
    if (group.category.empty() && row.contains(key) && row[key].is_string()) group.category = row[key].get<std::string>();
  }
  if (has(row, {"id"}) && row["id"].is_string()) group.id = row["id"].get<std::string>();
  if (has(row, {"id"}) && row["id"].is_number_integer()) group.id = row["id"].dump();
  if (!has(row, {"split"})) return;
  const std::string split = text_of(row["split"], "split");
  if (split == "train") {
    group.split = Split::train;
  } else if (split == "validation" || split == "valid" || split == "val" || split == "dev") {
    group.split = Split::validation;
  } else if (split == "test") {
    group.split = Split::test;
  } else {
    throw RowError(fmt::format("\"split\": expected train, validation or test, found {}", shown(row["split"])));
  }
}

}  // namespace dmoerm::pair
