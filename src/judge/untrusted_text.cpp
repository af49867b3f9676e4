#include "judge/untrusted_text.h"

#include <algorithm>

#include "base/utf8.h"

namespace dmoerm::judge {
namespace {

using nlohmann::json;
constexpr int kDepthMax = 64;

/// Nesting depth of the brackets outside of strings. It is checked before anything is parsed, because copying a JSON value
/// recurses.
int depth_of(std::string_view text) {
  int depth = 0, deepest = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      in_string = c != '"';
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      deepest = std::max(deepest, ++depth);
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  return deepest;
}

/// The text with null for the numbers that are no JSON, outside of strings, as Python writes them: NaN, Infinity, -Infinity.
std::string with_null_for_no_numbers(std::string_view text) {
  std::string result;
  bool in_string = false;
  while (!text.empty()) {
    std::size_t length = in_string && text.front() == '\\' ? std::min<std::size_t>(2, text.size()) : 1;
    bool number = false;
    for (const std::string_view word : {"NaN", "-Infinity", "Infinity"}) {
      if (number || in_string || !text.starts_with(word)) continue;
      number = true;
      length = word.size();
    }
    if (text.front() == '"') in_string = !in_string;
    result += number ? "null" : text.substr(0, length);
    text.remove_prefix(length);
  }
  return result;
}

}  // namespace

std::optional<json> parse_json(std::string_view body) {
  if (depth_of(body) > kDepthMax) return std::nullopt;
  json value = json::parse(body.begin(), body.end(), nullptr, false);
  if (value.is_discarded() && (body.find("NaN") != std::string_view::npos || body.find("Infinity") != std::string_view::npos))
    value = json::parse(with_null_for_no_numbers(body), nullptr, false);
  return value.is_discarded() ? std::nullopt : std::optional(std::move(value));
}

std::string as_utf8(std::string_view text) {
  std::string result;
  while (!text.empty()) {
    const std::size_t length = utf8_length(text, 0);
    result += length == 0 ? kReplacement : text.substr(0, length);
    text.remove_prefix(std::max<std::size_t>(length, 1));
  }
  return result;
}

const json& member(const json& value, const char* name) {
  static const json null;
  if (!value.is_object()) return null;
  const auto found = value.find(name);
  return found == value.end() ? null : *found;
}

bool holds_any(std::string_view text, std::initializer_list<const char*> words) {
  return std::ranges::any_of(words, [&](const char* word) { return text.find(word) != std::string_view::npos; });
}

std::string one_line(std::string_view text, std::size_t bytes_max) {
  std::string line;
  while (!text.empty()) {
    const std::size_t length = utf8_length(text, 0);
    const auto lead = static_cast<unsigned char>(text.front());
    if (line.size() + std::max<std::size_t>(length, 1) > bytes_max) return line + "...";
    if (length == 0 || lead <= 0x20 || lead == 0x7f || (lead == 0xc2 && static_cast<unsigned char>(text[1]) < 0xa0)) {
      if (!line.empty() && line.back() != ' ') line += ' ';
      text.remove_prefix(std::max<std::size_t>(length, 1));
    } else {
      line += text.substr(0, length);
      text.remove_prefix(length);
    }
  }
  while (!line.empty() && line.back() == ' ') line.pop_back();
  return line;
}

}  // namespace dmoerm::judge
