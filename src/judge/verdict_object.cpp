#include "judge/verdict_object.h"

#include <algorithm>
#include <array>
#include <string>

#include "base/text.h"

namespace dmoerm::judge {
namespace {

constexpr std::string_view kFence = "```", kSpace = " \t\r\n";
constexpr std::size_t kTail = 4096;  // bytes at the end of a text in which an object after other text is looked for

bool is_word(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }

bool names_verdict(std::string_view text) {
  constexpr std::string_view kName = "verdict";
  return std::search(text.begin(), text.end(), kName.begin(), kName.end(),
                     [](char a, char b) { return (a >= 'A' && a <= 'Z' ? a - 'A' + 'a' : a) == b; }) != text.end();
}

bool is_verdict_key(std::string_view key) {
  key = trim(key);
  return key.size() == 7 && names_verdict(key);
}

/// Keys that mean the same, for an object without a key "verdict".
bool is_other_key(std::string_view key) {
  constexpr std::array<std::string_view, 9> kKeys = {
      "winner", "better", "better_response", "preferred", "preferred_response", "judgment", "judgement", "判断", "结论"};
  return std::find(kKeys.begin(), kKeys.end(), lower(trim(key))) != kKeys.end();
}

/// Reads one object from the front of a text.
class ObjectReader {
 public:
  explicit ObjectReader(std::string_view text) : rest_(text) {}

  /// The object's verdict; nothing if it is not an object with exactly one.
  std::optional<ObjectVerdict> read() {
    if (!take('{')) return std::nullopt;
    std::optional<ObjectVerdict> found, other;
    int others = 0;
    while (!take('}')) {
      Token key, value;
      if (!token(key, ":") || !take(':') || !token(value, ",}")) return std::nullopt;
      if (is_verdict_key(key.text)) {
        if (found || value.nested) return std::nullopt;
        found = {value.text, value.quoted, {}, {}};
      } else if (is_other_key(key.text) && !value.nested) {
        other = {value.text, value.quoted, {}, {}};
        ++others;
      } else if (value.nested && names_verdict(value.text)) {
        return std::nullopt;
      }
      if (!take(',') && !peek('}')) return std::nullopt;
    }
    return !found && others == 1 ? other : found;
  }
  /// What follows the object.
  [[nodiscard]] std::string_view rest() const { return rest_; }

 private:
  struct Token {
    std::string_view text;
    bool quoted = false, nested = false;
  };

  bool peek(char c) {
    do {
      rest_.remove_prefix(std::min(rest_.find_first_not_of(kSpace), rest_.size()));
    } while (skip_wide_blank() || skip_comment());
    return rest_.starts_with(c);
  }
  bool skip_wide_blank() {
    for (const std::string_view blank : {"\u00a0", "\u202f", "\u3000"}) {
      if (!rest_.starts_with(blank)) continue;
      rest_.remove_prefix(blank.size());
      return true;
    }
    return false;
  }
  bool skip_comment() {
    const bool line = rest_.starts_with("//") || rest_.starts_with('#'), block = rest_.starts_with("/*");
    if (!line && !block) return false;
    const std::size_t end = line ? rest_.find('\n') : rest_.find("*/", 2);
    rest_.remove_prefix(end == std::string_view::npos ? rest_.size() : end + (line ? 1 : 2));
    return true;
  }
  bool take(char c) {
    const bool here = peek(c);
    if (here) rest_.remove_prefix(1);
    return here;
  }

  /// Bytes of the string that begins with the quote in front.
  [[nodiscard]] static std::size_t string_length(std::string_view text) {
    for (std::size_t i = 1; i < text.size(); ++i) {
      if (text[i] == '\\') {
        ++i;
      } else if (text[i] == text[0]) {
        return i + 1;
      }
    }
    return 0;
  }

  /// Bytes of the list or object in front, without regard to which bracket closes which.
  [[nodiscard]] static std::size_t nested_length(std::string_view text) {
    int depth = 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
      if (text[i] == '"') {
        const std::size_t length = string_length(text.substr(i));
        if (length == 0) return 0;
        i += length - 1;
      } else if (text[i] == '{' || text[i] == '[') {
        ++depth;
      } else if ((text[i] == '}' || text[i] == ']') && --depth == 0) {
        return i + 1;
      }
    }
    return 0;
  }

  /// Take a key or value. @param ends  characters that end a bare word
  bool token(Token& token, std::string_view ends) {
    if (peek('"') || peek('\'')) {
      const std::size_t length = string_length(rest_);
      if (length == 0) return false;
      token = {rest_.substr(1, length - 2), true, false};
      rest_.remove_prefix(length);
      return true;
    }
    if (peek('{') || peek('[')) {
      const std::size_t length = nested_length(rest_);
      token = {rest_.substr(0, length), false, true};
      rest_.remove_prefix(length);
      return length > 0;
    }
    const std::size_t length =
        std::min({rest_.find_first_of(ends), rest_.find('\n'), rest_.find("//"), rest_.find("/*"), rest_.size()});
    token = {trim(rest_.substr(0, length)), false, false};
    rest_.remove_prefix(length);
    return !token.text.empty();
  }

  std::string_view rest_;
};

/// The content of the code fence in front of `text`, which loses it; nothing without a whole fence.
std::optional<std::string_view> take_fence(std::string_view& text) {
  if (!text.starts_with(kFence)) return std::nullopt;
  const std::size_t end = text.find(kFence, kFence.size());
  if (end == std::string_view::npos) return std::nullopt;
  std::string_view content = text.substr(kFence.size(), end - kFence.size());
  while (!content.empty() && is_word(content.front())) content.remove_prefix(1);  // the language
  text.remove_prefix(end + kFence.size());
  return trim(content);
}

/// The verdict of the object, or of the fence around one, in front of `text`, which loses it.
std::optional<ObjectVerdict> take_object(std::string_view& text) {
  if (const auto fenced = take_fence(text)) {
    ObjectReader reader(*fenced);
    auto found = reader.read();
    return trim(reader.rest()).empty() ? found : std::nullopt;
  }
  ObjectReader reader(text);
  auto found = reader.read();
  text = reader.rest();
  return found;
}

/// Whether a text before an object is one short line that speaks of no response, so that the object is not quoted from one.
bool only_introduces(std::string_view before) {
  constexpr std::size_t kLongest = 80;  // bytes
  before = trim(before);
  const std::string low = lower(before);
  return before.size() <= kLongest && before.find('\n') == std::string_view::npos &&
         std::ranges::none_of(std::array{"response", "assistant", "candidate", "reply", "output", "say", "claim", "回答", "回复"},
                              [&](const char* word) { return low.find(word) != std::string::npos; });
}

}  // namespace

std::optional<ObjectVerdict> find_verdict_object(std::string_view text) {
  text = trim(text);
  for (const std::string_view mark : {"**", "`"}) {  // emphasis or code around the whole
    if (!text.starts_with(kFence) && text.size() > 2 * mark.size() && text.starts_with(mark) && text.ends_with(mark))
      text = trim(text.substr(mark.size(), text.size() - 2 * mark.size()));
  }
  if (text.size() > 2 && text.starts_with('[') && text.ends_with(']')) {  // a list of one object
    std::string_view rest = trim(text.substr(1, text.size() - 2));
    if (auto found = take_object(rest); found && trim(rest).empty()) return found;
  }
  if (std::string_view rest = text; auto found = take_object(rest)) {
    const std::string_view object = text.substr(0, text.size() - rest.size());
    for (rest = trim(rest); rest.starts_with(object); rest = trim(rest)) rest.remove_prefix(object.size());  // said again
    found->after = trim(rest);
    return found;
  }
  const std::size_t from = text.size() > kTail ? text.size() - kTail : 0;
  for (std::size_t line = text.find('\n', from); line != std::string_view::npos; line = text.find('\n', line + 1)) {
    std::string_view rest = trim(text.substr(line));
    if (!rest.starts_with('{') && !rest.starts_with(kFence)) continue;
    if (auto found = take_object(rest)) {
      if (!trim(rest).empty() && !only_introduces(text.substr(0, line))) return std::nullopt;
      found->before = text.substr(0, line);
      found->after = trim(rest);
      return found;
    }
  }
  return std::nullopt;
}

}  // namespace dmoerm::judge
