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

}  // namespace

std::optional<json> parse_json(std::string_view body) {
  if (depth_of(body) > kDepthMax) return std::nullopt;
  json value = json::parse(body.begin(), body.end(), nullptr, false);
  return value.is_discarded() ? std::nullopt : std::optional(std::move(value));
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
