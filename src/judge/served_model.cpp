#include "judge/served_model.h"

#include <algorithm>
#include <array>
#include <string>

#include "base/text.h"

namespace dmoerm::judge {
namespace {

/// Whether a part of a name is a date, a build number or a word of no importance.
bool says_little(std::string_view part) {
  constexpr std::array<std::string_view, 5> kWords = {"latest", "preview", "beta", "exp", "free"};
  if (std::ranges::find(kWords, part) != kWords.end()) return true;
  return part.size() >= 2 && part.find_first_not_of("0123456789") == std::string_view::npos;
}

std::string stem_of(std::string_view name) {
  std::string text = lower(name.substr(name.find_last_of('/') + 1));
  if (text.ends_with(".gguf")) text.resize(text.size() - 5);
  for (std::size_t at = text.find_last_of("-:@_"); at != std::string::npos && at > 0; at = text.find_last_of("-:@_")) {
    if (!says_little(std::string_view(text).substr(at + 1))) break;
    text.resize(at);
  }
  return text;
}

/// Whether a name is another one behind a provider's name and a dot: "anthropic.claude-3-haiku".
bool ends_as(std::string_view longer, std::string_view shorter) {
  return longer.size() > shorter.size() && longer.ends_with(shorter) && longer[longer.size() - shorter.size() - 1] == '.';
}

}  // namespace

bool may_be_same_model(std::string_view asked, std::string_view served) {
  const std::string one = stem_of(asked), other = stem_of(served);
  return one == other || ends_as(one, other) || ends_as(other, one);
}

}  // namespace dmoerm::judge
