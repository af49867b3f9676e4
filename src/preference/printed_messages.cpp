#include "preference/printed_messages.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "base/text.h"
#include "preference/role.h"

namespace dmoerm::preference {

namespace {

constexpr std::array<std::string_view, 4> kMessageKeys = {"role", "from", "content", "value"};
constexpr std::array<std::string_view, 3> kSpeakers = {"role", "from", "speaker"};
constexpr std::array<std::string_view, 5> kContents = {"content", "value", "parts", "text", "message"};
constexpr std::string_view kLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";

constexpr Printer kPython{"Python", "json.dumps"}, kDuckDb{"a cast of DuckDB to text", "to_json(COLUMN)"},
    kSpark{"a cast of Spark to string", "to_json(COLUMN)"}, kJava{"Java", "a library for JSON, such as Jackson"},
    kJavaScript{"JavaScript", "JSON.stringify"};

bool is_role(std::string_view word) {
  const RoleKind kind = role_kind(word);
  return kind != RoleKind::unknown && kind != RoleKind::tool;
}

bool drop_front(std::string_view& text, std::string_view beginning) {
  if (!text.starts_with(beginning)) return false;
  text = after_space(text.substr(beginning.size()));
  return true;
}

/// The text behind the brackets with which lists begin.
std::string_view inside_list(std::string_view text) {
  text = after_space(text);
  while (drop_front(text, "array(") || drop_front(text, "[") || drop_front(text, "(")) {
  }
  return text;
}

/// Whether a text begins as an object, or a list of objects, with a key of a message in such quotes.
bool begins_as_messages(std::string_view text, std::string_view quote) {
  text = inside_list(text);
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

/// The text in one of the quotes at the beginning of `text`, which moves behind it; false if none begins or it does not end.
bool take_quoted(std::string_view& text, const std::vector<std::string_view>& quotes, std::string_view& inside) {
  for (const std::string_view quote : quotes) {
    if (!text.starts_with(quote)) continue;
    for (std::size_t at = quote.size(); at < text.size(); ++at) {
      if (text.substr(at).starts_with(quote)) {
        inside = text.substr(quote.size(), at - quote.size());
        text = after_space(text.substr(at + quote.size()));
        return true;
      }
      if (text[at] == '\\') ++at;
    }
    return false;
  }
  return false;
}

/// Move behind a value without quotes: a number, a word, or brackets with what they hold.
void skip_value(std::string_view& text) {
  std::size_t at = 0;
  char quote = 0;
  for (int depth = 0; at < text.size(); ++at) {
    const char c = text[at];
    if (quote != 0) {
      if (c == '\\') ++at;
      if (c == quote) quote = 0;
      continue;
    }
    if (c == '"' || c == '\'') quote = c;
    if (depth == 0 && (c == ',' || c == '}')) break;
    if (c == '[' || c == '{' || c == '(') ++depth;
    if (c == ']' || c == '}' || c == ')') --depth;
  }
  text.remove_prefix(std::min(at, text.size()));
}

/// What the first object of a text says, if it is a message: who speaks; RoleKind::unknown if it is none. Keys stand in such
/// quotes, or without. @param usual_names  whether speaker and text are no keys of a message, as in what models extract from
/// texts
RoleKind first_speaker(std::string_view text, const std::vector<std::string_view>& quotes, bool bare_keys = false,
                       bool usual_names = false) {
  text = inside_list(text);
  if (!drop_front(text, "{")) return RoleKind::unknown;
  RoleKind speaker = RoleKind::unknown;
  bool content = false;
  while (speaker == RoleKind::unknown || !content) {
    std::string_view key, value;
    if (bare_keys) {
      key = text.substr(0, text.find_first_not_of(kLetters));
      text = after_space(text.substr(key.size()));
      if (key.empty()) return RoleKind::unknown;
    } else if (!take_quoted(text, quotes, key)) {
      return RoleKind::unknown;
    }
    if (!drop_front(text, ":")) return RoleKind::unknown;
    const bool counts = !usual_names || (key != "speaker" && key != "text");
    content = content || (counts && is_one_of(key, kContents));
    if (take_quoted(text, quotes, value)) {
      if (counts && is_one_of(key, kSpeakers) && is_role(value)) speaker = role_kind(value);
    } else {
      skip_value(text);
    }
    if (!drop_front(text, ",")) break;
  }
  return content ? speaker : RoleKind::unknown;
}

/// Whether a known role stands without quotes behind one of such keys, and another key of a message is there too:
/// {role=user, content=Hi}, or {'content': Hi, 'role': user}.
bool names_bare_role(std::string_view text, std::string_view before, std::string_view behind) {
  const auto at_key = [&](std::string_view key, std::size_t from) {
    for (std::size_t at = text.find(key, from); at != std::string_view::npos; at = text.find(key, at + 1)) {
      const std::string_view front = text.substr(0, at), rest = text.substr(at + key.size());
      if ((front.ends_with(std::string("{").append(before)) || front.ends_with(std::string(", ").append(before))) &&
          rest.starts_with(behind))
        return at;
    }
    return std::string_view::npos;
  };
  for (const auto& [speaker, content] : {std::pair("role", "content"), {"from", "value"}, {"speaker", "text"}}) {
    if (at_key(content, 0) == std::string_view::npos) continue;
    const std::string_view key = speaker;
    for (std::size_t at = at_key(key, 0); at != std::string_view::npos; at = at_key(key, at + 1)) {
      const std::string_view rest = text.substr(at + key.size() + behind.size());
      if (is_role(rest.substr(0, rest.find_first_of(",}")))) return true;
    }
  }
  return false;
}

/// Whether a text is wholly a list of Spark's structures, [{user, Hi}, {assistant, Yo}], whose first or last fields are roles.
bool is_list_of_structures(std::string_view text) {
  if (!text.starts_with("[{") || !text.ends_with("}]")) return false;
  text = text.substr(2, text.size() - 4);
  std::size_t first = 0, last = 0, all = 0;
  while (true) {
    const std::size_t end = text.find("}, {");
    const std::string_view one = text.substr(0, end);
    const std::size_t front = one.find(", "), back = one.rfind(", ");
    if (front == std::string_view::npos) return false;
    ++all, first += is_role(one.substr(0, front)) ? 1 : 0, last += is_role(one.substr(back + 2)) ? 1 : 0;
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 4);
  }
  return first == all || last == all;
}

/// Whether a text is wholly what JavaScript makes of objects that it joins with a text.
bool is_object_object(std::string_view text) {
  bool any = false;
  while (drop_front(text, "[object Object]")) {
    any = true;
    drop_front(text, ",");
  }
  return any && text.empty();
}

/// Whether a text is wholly the fields of a model of pydantic, role='assistant' content='Hi' tool_calls=None.
bool is_printed_fields(std::string_view text) {
  bool speaks = false, content = false;
  while (!text.empty()) {
    const std::string_view key = text.substr(0, text.find_first_not_of(kLetters));
    if (key.empty() || !text.substr(key.size()).starts_with('=')) return false;
    text.remove_prefix(key.size() + 1);
    std::string_view value;
    if (!take_quoted(text, {"'", "\""}, value)) {
      const std::size_t end = text.starts_with('[') || text.starts_with('{') ? text.find_last_of("]}") + 1 : text.find(' ');
      value = text.substr(0, end);
      text = after_space(text.substr(value.size()));
      if (value.empty()) return false;
    }
    speaks = speaks || (key == "role" && is_role(value));
    content = content || key == "content";
  }
  return speaks && content;
}

/// Whether a text is wholly a message of Gemini's as protocol buffers print it, parts { text: "Hi" } role: "model".
bool is_printed_proto(std::string_view text) {
  if (!text.starts_with("parts {") && !text.starts_with("parts:")) return false;
  return text.find("text: \"") != std::string_view::npos &&
         (text.ends_with("role: \"model\"") || text.ends_with("role: \"user\""));
}

/// Whether a text is wholly the reply of a library for generation, with a text in it.
bool is_printed_reply(std::string_view text) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 10> kReplies = {
      {{"RequestOutput", "outputs=["},
       {"CompletionOutput", "token_ids="},
       {"ChatCompletion", "choices=["},
       {"Completion", "choices=["},
       {"ModelResponse", "choices=["},
       {"Choice", "finish_reason="},
       {"ChatResponse", "message=Message("},
       {"GenerateContentResponse", "candidates=["},
       {"Content", "parts=["},
       {"LLMResult", "generations=["}}};
  const std::string_view list = text;
  drop_front(text, "[");
  const std::string_view type = text.substr(0, text.find_first_not_of(kLetters));
  const auto holds = [&](std::string_view part) { return text.find(part) != std::string_view::npos; };
  const auto is_reply = [&](const auto& reply) { return type == reply.first && holds(reply.second); };
  if (!text.substr(type.size()).starts_with('(') || std::ranges::none_of(kReplies, is_reply)) return false;
  const bool has_text = holds("text='") || holds("text=\"") || holds("content='") || holds("content=\"");
  return has_text && end_of_brackets(list, "'\"") == End::whole;
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

/// What stands behind a key of Python's print, as 'text'}] in [{'type': 'text'}]; "" if nothing does.
std::string_view after_printed_key(std::string_view text, std::string_view key) {
  for (std::size_t at = text.find(key); at != std::string_view::npos; at = text.find(key, at + 1)) {
    std::string_view rest = after_space(text.substr(at + key.size()));
    if (drop_front(rest, ":")) return rest;
  }
  return {};
}

/// Whether a text is wholly dictionaries of messages as Python prints them; the last one may be cut off.
bool is_printed_list(std::string_view text) {
  const std::string_view inner = inside_list(text);
  std::string_view key = inner;
  if (!drop_front(key, "{") || !key.starts_with('\'')) return false;
  const bool named =
      (begins_as_messages(text, "'") && names_a_role(text)) || first_speaker(text, {"'", "\""}) != RoleKind::unknown;
  return named && end_of_brackets(text, "'\"") != End::text_follows;
}

}  // namespace

std::string_view after_space(std::string_view text) {
  for (;;) {
    const std::size_t start = text.find_first_not_of(" \t\r\n");
    text = start == std::string_view::npos ? std::string_view() : text.substr(start);
    if (!text.starts_with("\uFEFF") && !text.starts_with("\u200B")) return text;
    text.remove_prefix(3);
  }
}

const Printer* printer_of_messages(std::string_view text) {
  text = trim(after_space(text));
  if (is_printed_object(text) || is_printed_list(text) || is_printed_fields(text) || is_printed_proto(text) ||
      is_printed_reply(text))
    return &kPython;
  if (is_object_object(text)) return &kJavaScript;
  const bool closed = (text.starts_with('{') && text.ends_with('}')) || (text.starts_with('[') && text.ends_with(']'));
  const std::string_view inner = inside_list(text);
  if (!closed || !inner.starts_with('{')) return nullptr;
  if (is_list_of_structures(text)) return &kSpark;
  if (inner.starts_with("{'") && names_bare_role(text, "'", "': ")) return &kDuckDb;
  if (names_bare_role(text, "", "=")) return &kJava;
  const bool literal = first_speaker(text, {"'", "\"", "`"}, true) != RoleKind::unknown;
  return literal && end_of_brackets(text, "'\"`") == End::whole ? &kJavaScript : nullptr;
}

const Printer* printer_of_answer(std::string_view text) {
  return is_printed_list(text) && first_speaker(text, {"'", "\""}) == RoleKind::assistant ? &kPython : nullptr;
}

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

bool is_damaged_messages(std::string_view text) {
  if (begins_as_messages(text, "\\\"") || begins_as_messages(text, "&quot;") || begins_as_messages(text, "&#34;")) return true;
  const bool plain = begins_as_messages(text, "\"") || first_speaker(text, {"\""}, false, true) != RoleKind::unknown;
  const bool doubled = first_speaker(text, {"\"\""}, false, true) != RoleKind::unknown || begins_as_messages(text, "\"\"");
  return (plain || doubled) && end_of_brackets(after_space(text), "\"") != End::text_follows;
}

}  // namespace dmoerm::preference
