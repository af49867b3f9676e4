#include "preference/messages_in_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "base/repeated_keys.h"
#include "base/text.h"
#include "preference/role.h"
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

constexpr std::array<std::string_view, 4> kMessageKeys = {"role", "from", "content", "value"};
constexpr std::string_view kAfterBracket = " \t\r\n";

/// The text behind white space, byte-order marks and characters without width at its beginning.
std::string_view after_space(std::string_view text) {
  for (;;) {
    const std::size_t start = text.find_first_not_of(kAfterBracket);
    text = start == std::string_view::npos ? std::string_view() : text.substr(start);
    if (!text.starts_with("\uFEFF") && !text.starts_with("\u200B")) return text;
    text.remove_prefix(3);
  }
}

bool drop_front(std::string_view& text, std::string_view beginning) {
  if (!text.starts_with(beginning)) return false;
  text = after_space(text.substr(beginning.size()));
  return true;
}

/// Whether a text begins as an object, or a list of objects, with a key of a message in such quotes.
bool begins_as_messages(std::string_view text, std::string_view quote) {
  text = after_space(text);
  while (drop_front(text, "array(") || drop_front(text, "[") || drop_front(text, "(")) {
  }
  if (!drop_front(text, "{") || !drop_front(text, quote)) return false;
  return std::ranges::any_of(kMessageKeys, [&](std::string_view key) {
    std::string_view rest = text;
    return drop_front(rest, key) && drop_front(rest, quote) && rest.starts_with(':');
  });
}

enum class End { whole, text_follows, cut_off };

/// Where the bracket that a text begins with is closed: at its end, before it, or nowhere.
End end_of_brackets(std::string_view text, std::string_view quotes) {
  int depth = 0;
  char quote = 0;
  bool opened = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quote != 0) {
      if (c == '\\') ++i;
      if (c == quote) quote = 0;
      continue;
    }
    if (quotes.find(c) != std::string_view::npos) quote = c;
    if (c == '[' || c == '{' || c == '(') ++depth, opened = true;
    if (c == ']' || c == '}' || c == ')') --depth;
    if (opened && depth <= 0) return is_blank(text.substr(i + 1)) ? End::whole : End::text_follows;
  }
  return End::cut_off;
}

/// Whether Python's print of a dictionary gives a role that is known, as in 'role': 'user'.
bool names_a_role(std::string_view text) {
  for (const std::string_view key : {"'role'", "'from'"}) {
    for (std::size_t at = text.find(key); at != std::string_view::npos; at = text.find(key, at + 1)) {
      std::string_view rest = after_space(text.substr(at + key.size()));
      if (drop_front(rest, ":") && drop_front(rest, "'") && role_kind(rest.substr(0, rest.find('\''))) != RoleKind::unknown)
        return true;
    }
  }
  return false;
}

/// Whether a text is wholly an object of a Python library's message, or a list of such, as Python prints it:
/// ChatCompletionMessage(content='Hi', role='assistant'), AIMessage(content='Hi'), content='Hi' additional_kwargs={}.
bool is_printed_object(std::string_view text) {
  text = trim(text);
  const auto holds = [&](std::string_view part) { return text.find(part) != std::string_view::npos; };
  if (text.starts_with("OrderedDict(")) return holds("('role', '") && holds("('content', ") && text.ends_with(")");
  if ((text.starts_with("b'") || text.starts_with("b\"")) && text.size() > 3 && text.back() == text[1])
    return begins_as_messages(text.substr(2), "\"") || begins_as_messages(text.substr(2), "'");
  if (text.starts_with("content=")) return holds(" additional_kwargs={");
  if (text.starts_with("[('role', '") || text.starts_with("[('content', '"))
    return holds("('content', ") && holds("('role', '") && text.ends_with(")]");
  if (drop_front(text, "[") && !text.ends_with("]")) return false;
  const std::size_t name = text.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.");
  if (name == std::string_view::npos || name == 0 || text[name] != '(') return false;
  if (!text.ends_with(")") && !text.ends_with(")]")) return false;
  const std::string_view type = text.substr(0, name);
  if (!type.ends_with("Message") && !type.ends_with("MessageChunk")) return false;
  if (!holds("content='") && !holds("content=\"") && !holds("content=None") && !holds("content=[")) return false;
  return holds("role=") || type.starts_with("AI") || type.starts_with("Human") || type.starts_with("System");
}

/// The types of parts that are texts, and those that never are anything but parts of a message.
constexpr std::array<std::string_view, 3> kTextParts = {"text", "input_text", "output_text"};
constexpr std::array<std::string_view, 6> kMediaParts = {"image_url", "image",     "input_image",
                                                         "video_url", "audio_url", "input_audio"};

bool is_one_of(std::string_view word, auto words) { return std::ranges::find(words, word) != words.end(); }

/// What stands behind a key of Python's print, as 'text'}] in [{'type': 'text'}]; "" if nothing does.
std::string_view after_printed_key(std::string_view text, std::string_view key) {
  for (std::size_t at = text.find(key); at != std::string_view::npos; at = text.find(key, at + 1)) {
    std::string_view rest = after_space(text.substr(at + key.size()));
    if (drop_front(rest, ":")) return rest;
  }
  return {};
}

/// Whether a text is wholly a list of parts of a message as Python prints it: [{'type': 'text', 'text': 'Hi'}], or
/// [TextBlock(text='Hi', type='text')].
bool is_printed_parts(std::string_view text) {
  constexpr std::array<std::string_view, 10> kFirstKeys = {"type",      "text",      "image_url", "image",         "input_image",
                                                           "citations", "video_url", "audio_url", "cache_control", "annotations"};
  text = trim(text);
  std::string_view rest = text;
  bool is_list = false;
  while (drop_front(rest, "array(") || drop_front(rest, "[") || drop_front(rest, "(")) is_list = true;
  const bool has_text = text.find("text='") != std::string_view::npos || text.find("text=\"") != std::string_view::npos;
  if (rest.starts_with("TextBlock(") && has_text) return end_of_brackets(text, "'\"") == End::whole;
  if (!is_list || !drop_front(rest, "{") || !drop_front(rest, "'")) return false;
  if (!is_one_of(rest.substr(0, rest.find('\'')), kFirstKeys)) return false;
  std::string_view type = after_printed_key(text, "'type'");
  if (!drop_front(type, "'")) return false;
  type = type.substr(0, type.find('\''));
  const bool is_text = is_one_of(type, kTextParts) && !after_printed_key(text, "'text'").empty();
  return (is_text || is_one_of(type, kMediaParts)) && end_of_brackets(text, "'\"") != End::text_follows;
}

/// The columns that hold lists of answers, whatever else a row may have.
constexpr std::array kListKeys = {"completions", "responses", "answers", "history"};

/// The columns that hold messages.
constexpr std::array kMessageColumns = {"messages",       "conversations",  "conversation",     "prompt",
                                        "chosen",         "rejected",       "context",          "response",
                                        "conversation_a", "conversation_b", "context_messages", "rejected_response"};

/// Whether a column holds several texts, so that a list in it is no list of parts of one.
bool holds_several(std::string_view key) {
  return std::ranges::find(kListKeys, key) != kListKeys.end() || key == "messages" || key.starts_with("conversation");
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

bool has_known_role(const json& message) {
  return role_kind(message[message.contains("role") ? "role" : "from"].get_ref<const std::string&>()) != RoleKind::unknown;
}

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

/// Whether a value is a list of OpenAI's parts of a message: texts and media, and beside a text whatever else has a type.
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
  return std::ranges::any_of(value, is_text) && std::ranges::all_of(value, is_typed) &&
         std::ranges::none_of(value, [&](const json& part) { return is_one_of(type(part), kTextParts) && !is_text(part); });
}

/// The texts of a list of parts, joined. @throws RowError if a part has no text
json text_of_parts(const json& parts, const char* key) {
  std::string text;
  for (const json& part : parts) {
    if (!part.contains("text") || !part["text"].is_string())
      throw RowError::unusable("part-is-not-text", fmt::format("\"{}\" with a part of type {}: only text is read", key,
                                                               part["type"].get_ref<const std::string&>()));
    text += part["text"].get_ref<const std::string&>();
  }
  return text;
}

/// The conversation that an object holds beside nothing else, or the message of a chat interface's reply.
const json* conversation_inside(const json& value) {
  if (!value.is_object()) return nullptr;
  const bool reply = value.contains("object") && value["object"] == "chat.completion";
  if (value.size() != 1 && !reply) return nullptr;
  for (const char* name : {"messages", "conversations", "conversation"}) {
    if (value.contains(name) && is_conversation(value[name])) return &value[name];
  }
  if (!has_objects(value, "choices") || value["choices"].size() != 1) return nullptr;
  const json& choice = value["choices"][0];
  return choice.contains("message") && is_conversation(choice["message"]) ? &choice["message"] : nullptr;
}

RowError printed_by_python(const char* key, const std::string& text, const char* what = "messages") {
  return RowError("messages-printed-by-python",
                  fmt::format("\"{}\": expected messages or a text, found {} as Python prints them: {}; write them with "
                              "json.dumps",
                              key, what, shown(json(text))));
}

RowError damaged(const char* key, const std::string& text) {
  return RowError("messages-not-json",
                  fmt::format("\"{}\": expected messages or a text, found a text that begins like a list of messages but is "
                              "damaged or cut-off JSON: {}",
                              key, shown(json(text))));
}

/// What a text says if it is wholly JSON that `wanted` accepts. @throws RowError if it was meant to be, but is something else
std::optional<json> json_in(const std::string& text, const char* key, bool (*wanted)(const json&)) {
  const std::string_view inner = after_space(text);
  if (wanted == is_conversation && is_printed_object(inner)) throw printed_by_python(key, text);
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
  const bool escaped =
      begins_as_messages(text, "\\\"") || begins_as_messages(text, "&quot;") || begins_as_messages(text, "&#34;");
  if (escaped || (begins_as_messages(text, "\"") && end_of_brackets(inner, "\"") != End::text_follows)) throw damaged(key, text);
  if (begins_as_messages(text, "'") && names_a_role(text) && end_of_brackets(inner, "'\"") != End::text_follows)
    throw printed_by_python(key, text);
  return std::nullopt;
}

/// @param several  whether the value is a list of several texts, so that a list is no list of parts of one
void unpack(json& value, const char* key, bool several) {
  if (value.is_string()) {
    auto messages = json_in(value.get_ref<const std::string&>(), key, is_conversation);
    if (!messages) messages = json_in(value.get_ref<const std::string&>(), key, is_parts);
    if (!messages) return;
    value = std::move(*messages);
  }
  if (is_parts(value) && !several) {
    value = text_of_parts(value, key);
  } else if (value.is_array()) {
    for (json& element : value) unpack(element, key, false);
  } else if (is_message(value)) {
    json& content = value[value.contains("content") ? "content" : "value"];
    if (content.is_string()) {
      if (auto parts = json_in(content.get_ref<const std::string&>(), key, is_parts)) content = std::move(*parts);
    }
  } else if (value.is_object()) {
    for (const char* inner : kTextKeys) {
      if (const auto found = value.find(inner); found != value.end()) unpack(*found, inner, holds_several(inner));
    }
  }
}

}  // namespace

void unpack_messages(json& row) {
  if (!row.is_object()) return;
  for (const char* key : kListKeys) {  // tables write a list of answers as one text
    if (!row.contains(key) || !row[key].is_string()) continue;
    const auto& text = row[key].get_ref<const std::string&>();
    if (trim(text).starts_with("[{'")) throw printed_by_python(key, text);
    std::string twice;
    if (auto list = parsed(text, &twice); list && list->is_array()) {
      refuse_repeated(key, twice);
      row[key] = std::move(*list);
    }
  }
  for (const char* key : kMessageColumns) {
    if (const auto found = row.find(key); found != row.end()) name_all_as_usual(*found);
  }
  const bool extra_input = has(row, {"instruction"});  // the input of an instruction is what the instruction is about
  for (const char* key : kTextKeys) {
    if (extra_input && std::string_view(key) == "input") continue;
    if (const auto found = row.find(key); found != row.end()) unpack(*found, key, holds_several(key));
  }
}

}  // namespace dmoerm::preference
