#include "judge/template_text.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "config/nearest.h"

namespace dmoerm::judge {
namespace {

std::string unknown_field(std::string_view name) {
  const auto close = config::nearest(name, {kFieldNames.begin(), kFieldNames.end()});
  return fmt::format(
      "{{{}}} is not a placeholder, {}; a literal brace is written {{{{ or }}}}", name,
      close ? fmt::format("did you mean {{{}}}?", *close) : fmt::format("known are {{{}}}", fmt::join(kFieldNames, "}, {")));
}

}  // namespace

TemplateText TemplateText::parse(std::string_view text, bool fields,
                                 const std::function<void(std::string_view, const std::string&)>& problem) {
  constexpr std::size_t kShown = 40;  // longest name that is shown
  TemplateText result;
  Piece piece;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c != '{' && c != '}') {
      piece.text += c;
      continue;
    }
    if (text.substr(i + 1, 1) == text.substr(i, 1)) {
      piece.text += c;
      ++i;
      continue;
    }
    const std::size_t end = c == '{' ? text.find_first_of("{}\n", i + 1) : std::string_view::npos;
    if (end == std::string_view::npos || text[end] != '}') {
      problem(text.substr(i, 1),
              fmt::format("a single {}: a placeholder looks like {{point}}, a literal brace is written {{{{ or }}}}", c));
      continue;
    }
    const std::string_view part = text.substr(i, end + 1 - i), name = part.substr(1, part.size() - 2);
    const auto found = std::ranges::find(kFieldNames, name);
    if (!fields) {
      problem(part, fmt::format("{} is not allowed here: this text has no placeholders; a literal brace is written {{{{ or }}}}",
                                part.size() <= kShown ? part : "a brace"));
    } else if (found == kFieldNames.end()) {
      problem(part, name.size() <= kShown
                        ? unknown_field(name)
                        : "this is too long for the name of a placeholder; a literal brace is written {{ or }}");
    } else {
      piece.field = static_cast<int>(found - kFieldNames.begin());
      result.pieces_.push_back(std::move(piece));
      piece = {};
    }
    i = end;
  }
  result.pieces_.push_back(std::move(piece));
  return result;
}

std::string TemplateText::render(const FieldValues& values) const {
  std::size_t size = 0;
  const auto value = [&](const Piece& piece) {
    return piece.field < 0 ? std::string_view() : values[static_cast<std::size_t>(piece.field)];
  };
  for (const Piece& piece : pieces_) size += piece.text.size() + value(piece).size();
  std::string result;
  result.reserve(size);
  for (const Piece& piece : pieces_) {
    result += piece.text;
    result += value(piece);
  }
  return result;
}

int TemplateText::count(Field field) const {
  return static_cast<int>(std::ranges::count(pieces_, static_cast<int>(field), &Piece::field));
}

}  // namespace dmoerm::judge
