#include "preference/messages_in_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "base/repeated_keys.h"
#include "base/text.h"
#include "preference/printed_messages.h"
#include "preference/role.h"
#include "preference/row_checks.h"
#include "preference/row_error.h"
#include "preference/row_fields.h"

namespace dmoerm::preference {

using nlohmann::json;

namespace {

/// The keys whose texts are prompts, responses or conversations, in rows and in the objects within them.
constexpr std::array kTextKeys = {"prompt",
                                  "chosen",
                                  "rejected",
                                  "response",
                                  "responses",
                                  "messages",
                                  "conversations",
                                  "conversation",
                                  "trajectory",
                                  "rejected_messages",
                                  "completion",
                                  "completions",
                                  "context",
                                  "question",
                                  "instruction",
                                  "query",
                                  "input",
                                  "response_0",
                                  "response_1",
                                  "response_2",
                                  "response1",
                                  "response2",
                                  "rejected_response",
                                  "human_ref_A",
                                  "human_ref_B",
                                  "answer_0",
                                  "answer_1",
                                  "conversation_a",
                                  "conversation_b",
                                  "text_chosen",
                                  "context_messages",
                                  "answers",
                                  "answer",
                                  "text_rejected",
                                  "system",
                                  "system_prompt",
                                  "src",
                                  "tgt",
                                  "text"};

/// The columns that hold lists of answers, whatever else a row may have.
constexpr std::array kListKeys = {"completions", "responses", "answers", "history"};

/// The columns that hold messages.
constexpr std::array kMessageColumns = {"messages",       "conversations",    "conversation",     "prompt",
                                        "chosen",         "rejected",         "context",          "response",
                                        "conversation_a", "conversation_b",   "context_messages", "rejected_response",
                                        "trajectory",     "rejected_messages"};

/// Whether a column holds several texts, so that a list in it is no list of parts of one.
bool holds_several(std::string_view key) {
  return std::ranges::find(kListKeys, key) != kListKeys.end() || key == "messages" || key == "trajectory" ||
         key.starts_with("conversation");
}

/// The value of a text that is JSON. @param twice  is set to a key that an object in it has twice
std::optional<json> parsed(std::string_view text, std::string* twice = nullptr) {
  struct TooDeep {};
  RepeatedKeys keys;
  const auto limit = [&](int depth, json::parse_event_t event, json& value) {
    if (depth > kDepthMax) throw TooDeep();
    if (keys.repeats(event, value) && twice != nullptr) *twice = value.get<std::string>();
    return true;
  };
  try {
    return json::parse(text, limit);
  } catch (const TooDeep&) {
    return std::nullopt;
  } catch (const json::exception&) {
    return std::nullopt;
  }
}

/// Write a message whose speaker or text has another usual name, such as {"role", "parts"} of Gemini or {"speaker", "text"}, as
/// {"role", "content"}, if its role is known. Other values stay.
void name_as_usual(json& value) {
  constexpr std::array kSpeakers = {"role", "from", "speaker"};
  constexpr std::array kContents = {"content", "value", "parts", "text", "message"};
  if (!value.is_object() || value.contains("tool_calls") || value.contains("function_call")) return;
  const auto holds = [&](const char* key) { return value.contains(key); };
  const auto *const speaker = std::ranges::find_if(kSpeakers, holds), *const content = std::ranges::find_if(kContents, holds);
  if (speaker == kSpeakers.end() || content == kContents.end() || !value[*speaker].is_string()) return;
  const bool usual = (*speaker == std::string_view("role") && *content == std::string_view("content")) ||
                     (*speaker == std::string_view("from") && *content == std::string_view("value"));
  if (usual || role_kind(value[*speaker].get_ref<const std::string&>()) == RoleKind::unknown) return;
  if (!value[*content].is_string() && !value[*content].is_array()) return;
  json role = std::move(value[*speaker]), text = std::move(value[*content]);
  value.erase(*speaker);
  value.erase(*content);
  value["role"] = std::move(role), value["content"] = std::move(text);
}

/// The same for a message, or the messages of a list.
void name_all_as_usual(json& value) {
  name_as_usual(value);
  if (!value.is_array()) return;
  for (json& element : value) name_as_usual(element);
}

bool is_message(const json& value) {
  if (!value.is_object()) return false;
  const auto text = [&](const char* key) { return value.contains(key) && value[key].is_string(); };
  return (text("role") && (value.contains("content") || value.contains("tool_calls") || value.contains("function_call"))) ||
         (text("from") && value.contains("value"));
}

const std::string& speaker_of(const json& message) {
  return message[message.contains("role") ? "role" : "from"].get_ref<const std::string&>();
}

bool has_known_role(const json& message) { return role_kind(speaker_of(message)) != RoleKind::unknown; }

bool is_conversation(const json& value) {
  if (!value.is_array()) return is_message(value) && has_known_role(value);
  return !value.empty() && std::ranges::all_of(value, is_message) && std::ranges::any_of(value, has_known_role);
}

/// Whether a list has messages of known roles and something else between them.
bool is_half_a_conversation(const json& value) {
  const auto known = [](const json& m) { return is_message(m) && has_known_role(m); };
  return value.is_array() && std::ranges::any_of(value, known) && !std::ranges::all_of(value, is_message);
}

/// A text was taken for JSON that has a key twice.
void refuse_repeated(const char* key, const std::string& twice) {
  if (!twice.empty())
    throw RowError("key-given-twice", fmt::format("\"{}\": the key {} stands twice in one object of the JSON in this text", key,
                                                  shown(json(twice))));
}

/// Messages of a text that has one on each line; null if it is another text.
json messages_in_lines(std::string_view text, std::string& twice) {
  json messages = json::array();
  for (text = trim(text); !text.empty();) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    auto message = parsed(text.substr(0, end), &twice);
    if (!message || !is_message(*message)) return {};
    messages.push_back(std::move(*message));
    text = after_space(text.substr(end));
  }
  return is_conversation(messages) ? messages : json();
}

/// Whether a value is a list of OpenAI's parts of a message: texts and media, and beside a text or reasoning whatever else has a
/// type.
bool is_parts(const json& value) {
  const auto type = [](const json& part) {
    return part.is_object() && part.contains("type") && part["type"].is_string() ? part["type"].get<std::string>() : "";
  };
  const auto is_text = [&](const json& part) {
    return is_one_of(type(part), kTextParts) && part.contains("text") && part["text"].is_string();
  };
  const auto is_known = [&](const json& part) { return is_text(part) || is_one_of(type(part), kMediaParts); };
  const auto is_typed = [&](const json& part) { return !type(part).empty(); };
  if (!value.is_array() || value.empty()) return false;
  if (std::ranges::all_of(value, is_known)) return true;
  const auto shows_kind = [&](const json& part) { return is_text(part) || is_reasoning_part(part); };
  return std::ranges::any_of(value, shows_kind) && std::ranges::all_of(value, is_typed) &&
         std::ranges::none_of(value, [&](const json& part) { return is_one_of(type(part), kTextParts) && !is_text(part); });
}

/// The texts of a list of parts, joined. @param reasons  is set if parts of reasoning beside them are left out
/// @throws RowError if another part has no text
json text_of_parts(const json& parts, const char* key, bool& reasons) {
  std::string text;
  expect_more_than_reasoning(parts, key);
  for (const json& part : parts) {
    if (is_reasoning_part(part)) {
      reasons = true;
      continue;
    }
    if (!part.contains("text") || !part["text"].is_string())
      throw RowError::unusable("part-is-not-text", fmt::format("\"{}\" with a part of type {}: only text is read", key,
                                                               part["type"].get_ref<const std::string&>()));
    text += part["text"].get_ref<const std::string&>();
  }
  return text;
}

/// Whether a key beside messages says where they come from, and nothing more of the conversation.
bool is_mark(std::string_view key) {
  constexpr std::array<std::string_view, 10> kMarks = {"id",      "uuid",       "source",    "dataset", "metadata",
                                                       "created", "created_at", "timestamp", "title",   "language"};
  return is_one_of(key, kMarks) || key.ends_with("_id");
}

/// The conversation that an object holds beside nothing else but its marks, the message of a chat interface's reply, or the
/// conversation that a pipeline of transformers returns.
const json* conversation_inside(const json& value) {
  if (value.is_array() && value.size() == 1 && value[0].is_object() && value[0].size() == 1 &&
      value[0].contains("generated_text"))
    return is_conversation(value[0]["generated_text"]) ? &value[0]["generated_text"] : nullptr;
  if (!value.is_object()) return nullptr;
  const bool reply = value.contains("object") && value["object"] == "chat.completion";
  for (const char* name : {"messages", "conversations", "conversation"}) {
    if (!value.contains(name) || !is_conversation(value[name])) continue;
    const auto fits = [&](const auto& member) { return member.key() == name || is_mark(member.key()); };
    bool alone = true;
    for (const auto& member : value.items()) alone = alone && fits(member);
    if (alone) return &value[name];
  }
  if (value.size() != 1 && !reply) return nullptr;
  if (!has_objects(value, "choices") || value["choices"].size() != 1) return nullptr;
  const json& choice = value["choices"][0];
  return choice.contains("message") && is_conversation(choice["message"]) ? &choice["message"] : nullptr;
}

RowError printed_by(const Printer& printer, const char* key, const std::string& text, const char* what = "messages") {
  const bool python = std::string_view(printer.name) == "Python";
  return RowError(python ? ErrorCode("messages-printed-by-python") : ErrorCode("messages-printed-by-program"),
                  fmt::format("\"{}\": expected messages or a text, found {} as {} prints them: {}; write them with {}", key,
                              what, printer.name, shown(json(text)), printer.instead));
}

RowError printed_by_python(const char* key, const std::string& text, const char* what) {
  return printed_by({"Python", "json.dumps"}, key, text, what);
}

RowError damaged(const char* key, const std::string& text) {
  return RowError("messages-not-json",
                  fmt::format("\"{}\": expected messages or a text, found a text that begins like a list of messages but is "
                              "damaged or cut-off JSON: {}",
                              key, shown(json(text))));
}

/// The content of the one message of the assistant that a text is in JSON: a content that was packed twice.
std::optional<json> answer_inside(const std::string& text) {
  if (!text.starts_with('[') && !text.starts_with('{')) return std::nullopt;
  const auto value = parsed(text);
  if (!value || !is_conversation(*value) || (value->is_array() && value->size() != 1)) return std::nullopt;
  const json& message = value->is_array() ? value->front() : *value;
  const char* key = message.contains("content") ? "content" : "value";
  if (role_kind(speaker_of(message)) != RoleKind::assistant || !message.contains(key)) return std::nullopt;
  return message[key];
}

/// What a text says if it is wholly JSON that `wanted` accepts. @throws RowError if it was meant to be, but is something else
std::optional<json> json_in(const std::string& text, const char* key, bool (*wanted)(const json&)) {
  const std::string_view inner = after_space(text);
  const Printer* printer = wanted == is_conversation ? printer_of_messages(inner) : nullptr;
  if (printer != nullptr) throw printed_by(*printer, key, text);
  if (wanted == is_parts && is_printed_parts(inner)) throw printed_by_python(key, text, "parts of a message");
  if (inner.empty() || std::string_view("[{\"a(").find(inner.front()) == std::string_view::npos) return std::nullopt;
  if (inner.front() == '"' && inner.size() > 1 && (inner[1] == '[' || inner[1] == '{')) {  // a string that was written twice
    const auto once = parsed(text);
    return once && once->is_string() ? json_in(once->get_ref<const std::string&>(), key, wanted) : std::nullopt;
  }
  std::string twice;
  if (auto value = parsed(inner, &twice)) {
    name_all_as_usual(*value);
    if (wanted == is_conversation && is_half_a_conversation(*value)) throw damaged(key, text);
    if (const json* inside = wanted == is_conversation ? conversation_inside(*value) : nullptr; inside != nullptr) {
      refuse_repeated(key, twice);
      return *inside;
    }
    if (!wanted(*value)) return std::nullopt;
    refuse_repeated(key, twice);
    return value;
  }
  if (inner.front() == '{' && wanted == is_conversation) {
    if (json lines = messages_in_lines(inner, twice); !lines.is_null()) {
      refuse_repeated(key, twice);
      return lines;
    }
  }
  if (is_damaged_messages(text)) throw damaged(key, text);
  return std::nullopt;
}

/// @param several  whether the value is a list of several texts, so that a list is no list of parts of one
/// @param reasons  as for text_of_parts()
void unpack(json& value, const char* key, bool several, bool& reasons) {
  if (value.is_string()) {
    auto messages = json_in(value.get_ref<const std::string&>(), key, is_conversation);
    if (!messages) messages = json_in(value.get_ref<const std::string&>(), key, is_parts);
    if (!messages) return;
    value = std::move(*messages);
  }
  if (is_parts(value) && !several) {
    value = text_of_parts(value, key, reasons);
  } else if (value.is_array()) {
    for (json& element : value) unpack(element, key, false, reasons);
  } else if (is_message(value)) {
    json& content = value[value.contains("content") ? "content" : "value"];
    if (!content.is_string()) return;
    const auto text = content.get<std::string>();
    const bool answers = role_kind(speaker_of(value)) == RoleKind::assistant;
    if (auto parts = json_in(text, key, is_parts)) {
      content = std::move(*parts);
    } else if (const Printer* printer = answers ? printer_of_answer(text) : nullptr; printer != nullptr) {
      throw printed_by(*printer, key, text);
    } else if (answers) {
      if (auto answer = answer_inside(text)) content = std::move(*answer);
    }
  } else if (value.is_object()) {
    for (const char* inner : kTextKeys) {
      if (const auto found = value.find(inner); found != value.end()) unpack(*found, inner, holds_several(inner), reasons);
    }
  }
}

}  // namespace

void unpack_messages(json& row) {
  if (!row.is_object()) return;
  for (const char* key : kListKeys) {  // tables write a list of answers as one text
    if (!row.contains(key) || !row[key].is_string()) continue;
    const auto& text = row[key].get_ref<const std::string&>();
    if (trim(text).starts_with("[{'")) throw printed_by_python(key, text, "answers");
    std::string twice;
    if (auto list = parsed(text, &twice); list && list->is_array()) {
      refuse_repeated(key, twice);
      row[key] = std::move(*list);
    }
  }
  for (const char* key : kMessageColumns) {
    if (const auto found = row.find(key); found != row.end()) name_all_as_usual(*found);
  }
  if (const auto prompt = row.find("prompt"); prompt != row.end() && prompt->is_object() && !prompt->contains("replies")) {
    if (const json* inside = conversation_inside(*prompt); inside != nullptr) {
      *prompt = json(*inside);
    } else if (is_message(*prompt) && has_known_role(*prompt)) {
      *prompt = json::array({*prompt});
    }
  }
  const bool extra_input = has(row, {"instruction"});  // the input of an instruction is what the instruction is about
  bool reasons = false;
  for (const char* key : kTextKeys) {
    if (extra_input && std::string_view(key) == "input") continue;
    if (const auto found = row.find(key); found != row.end()) unpack(*found, key, holds_several(key), reasons);
  }
  if (reasons) row[kReasoningPart] = true;
}

}  // namespace dmoerm::preference
