#include "config/yaml_words.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "config/odd_characters.h"

namespace dmoerm::config {
namespace {

using namespace std::string_view_literals;

constexpr const char* kIndentation = "this line does not fit the lines above it: check its indentation, quotes and brackets";
constexpr const char* kEscape = "a backslash in double quotes begins an escape: write \\\\, or put the text in single quotes";
constexpr const char* kName = "a value that begins with & or * names an anchor: put it in quotes";

/// Parts of yaml-cpp's messages and what they mean. The first that fits counts.
constexpr std::array kMeanings = {
    std::pair{"illegal map value"sv,
              "a colon that cannot stand here: check the line's indentation, or put a value that holds \": \" in quotes"},
    std::pair{"end of map flow"sv, "a { is not closed by }"},
    std::pair{"end of sequence flow"sv, "a [ is not closed by ]"},
    std::pair{"illegal flow end"sv, "a closing bracket without an opening one"},
    std::pair{"end of map not found"sv, kIndentation},
    std::pair{"end of sequence not found"sv, kIndentation},
    std::pair{"illegal block entry"sv, "a \"- \" where no list can begin: check its indentation"},
    std::pair{"illegal EOF"sv, "a quote is not closed"},
    std::pair{"illegal document indicator"sv, "a --- or ... inside a text in quotes"},
    std::pair{"escape"sv, kEscape},
    std::pair{"hex number"sv, kEscape},
    std::pair{"invalid unicode"sv, kEscape},
    std::pair{"referenced anchor"sv,
              "a * begins the name of an anchor, and the file has none of this name: put a text that begins with * in quotes"},
    std::pair{"anchor"sv, kName},
    std::pair{"alias"sv, kName},
    std::pair{"tab"sv, "a tab where YAML allows blanks only"},
    std::pair{"tag"sv, "a value that begins with ! names a type: put it in quotes"},
};

std::string_view line_of(std::string_view text, int number) {
  std::size_t start = 0;
  for (int i = 0; i < number; ++i) {
    const std::size_t end = text.find('\n', start);
    if (end == std::string_view::npos) return {};
    start = end + 1;
  }
  return text.substr(start, text.find('\n', start) - start);
}

}  // namespace

std::string yaml_complaint(std::string_view said, std::string_view text, int line, int column) {
  const std::string_view here = line_of(text, line);
  std::string odd = odd_character(here);
  if (odd.empty() && line > 0) odd = odd_character(line_of(text, line - 1));
  if (said.find("unknown token") != std::string_view::npos && column >= 0 && static_cast<std::size_t>(column) < here.size())
    return fmt::format("a value cannot begin with {}: put it in quotes{}", here[static_cast<std::size_t>(column)], odd);
  const auto* meaning =
      std::ranges::find_if(kMeanings, [&](const auto& m) { return said.find(m.first) != std::string_view::npos; });
  return (meaning == kMeanings.end() ? kIndentation : meaning->second) + odd;
}

}  // namespace dmoerm::config
