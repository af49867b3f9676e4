#include "preference/verdict.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/error.h"

namespace dmoerm::preference {
namespace {

constexpr std::array<std::string_view, 6> kWords = {"first", "second", "tie", "unparsable", "refused", "error"};

}  // namespace

std::string_view to_string(Verdict verdict) { return kWords[static_cast<std::size_t>(verdict)]; }

Verdict verdict_from(std::string_view word) {
  const auto found = std::ranges::find(kWords, word);
  if (found == kWords.end()) {
    throw DataError("unknown-verdict",
                    fmt::format("\"{}\" is not a verdict: expected first, second, tie, unparsable, refused or error", word));
  }
  return static_cast<Verdict>(found - kWords.begin());
}

}  // namespace dmoerm::preference
