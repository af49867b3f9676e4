#include "judge/verdict_lines.h"

#include <algorithm>
#include <array>
#include <optional>
#include <vector>

#include "base/text.h"

namespace dmoerm::judge {
namespace {

using preference::Verdict;
using Words = std::vector<std::string_view>;

const std::array<Words, 3> kLabels = {
    {{"verdict", "判断", "结论", "裁决"},
     {"winner",
      "better response",
      "preferred response",
      "best response",
      "better answer",
      "better reply",
      "better one",
      "judgment",
      "judgement",
      "correction",
      "urteil",
      "verdikt",
      "gewinner",
      "jugement",
      "veredicto",
      "bessere antwort",
      "meilleure réponse",
      "mejor respuesta",
      "вердикт",
      "Вердикт",
      "更好的回答",
      "较好的回答",
      "评判",
      "判定",
      "판정",
      "胜者"},
     {"answer", "choice", "preference", "decision", "conclusion", "result", "antwort", "entscheidung", "ergebnis", "réponse",
      "Réponse", "choix", "respuesta", "答案", "选择", "结果"}}};
// What may stand before a label, and before a sentence that begins with one.
const Words kBefore = {"final", "my", "my final", "最终", "最终的", "我的"};
const Words kOpenings = {"so",          "thus",     "therefore",  "hence",     "overall",
                         "finally",     "in sum",   "in summary", "to sum up", "in conclusion",
                         "to conclude", "in short", "i think",    "i believe", "i conclude"};
const Words kColons = {":", "："};
const Words kArticles = {"that ", "the ", "my ", "final ", "overall ", "clear "};

const Words& words_of(LineLabel label) { return kLabels.at(static_cast<std::size_t>(label)); }

bool drop_front(std::string_view& text, const Words& words) {
  for (const std::string_view word : words) {
    if (!text.starts_with(word)) continue;
    text.remove_prefix(word.size());
    return true;
  }
  return false;
}

/// Remove the mark of a heading or of a list's item.
void skip_mark(std::string_view& text) {
  while (drop_front(text, {"#", "-"})) continue;
  const std::size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
  if (digits > 0 && digits <= 2 && (text.substr(digits).starts_with(". ") || text.substr(digits) == "."))
    text.remove_prefix(digits + 1);
  skip_around(text);
}

/// Bytes of a label with its colon at the start of `text`, which is in lower case; 0 if there is none.
std::size_t label_length(std::string_view text, const Words& labels) {
  for (const std::string_view label : labels) {
    if (!text.starts_with(label)) continue;
    std::string_view rest = text.substr(label.size());
    skip_around(rest);
    if (drop_front(rest, {"is"})) skip_around(rest);
    if (drop_front(rest, kColons)) return text.size() - rest.size();
  }
  return 0;
}

/// Place of the first label with a colon in a text in lower case; the text's size if there is none.
std::size_t find_label(std::string_view text, const Words& labels) {
  std::size_t at = 0;
  while (at < text.size() && label_length(text.substr(at), labels) == 0) ++at;
  return at;
}

bool has_label(std::string_view text, const Words& labels) { return find_label(text, labels) < text.size(); }

/// Verdict of a line in lower case that has a label with a colon at `label`, or unparsable.
Found read_labelled(std::string_view line, std::size_t label, bool allow_tie, const Words& labels) {
  std::string_view before = line.substr(0, label), value = line.substr(label + label_length(line.substr(label), labels));
  skip_mark(before);
  skip_around_back(before);
  if (!before.empty() && std::ranges::find(kBefore, before) == kBefore.end()) return {};
  if (has_label(value, labels)) return {};
  Found found = read_value(value, allow_tie);
  found.at += static_cast<std::size_t>(value.data() - line.data());
  return found;
}

/// Verdict of a line in lower case such as "overall, the better response is 2, because it is clearer", or unparsable.
Found read_sentence(std::string_view line, bool allow_tie, const Words& labels) {
  std::string_view value = line;
  skip_mark(value);
  if (drop_front(value, kOpenings)) {
    drop_front(value, {","});
    skip_around(value);
  }
  while (drop_front(value, kArticles)) continue;
  if (!drop_front(value, labels)) return {};
  skip_around(value);
  if (!drop_front(value, {"is clearly ", "is ", "为", "是"})) return {};
  Found found = read_value(value, allow_tie);
  found.at += static_cast<std::size_t>(value.data() - line.data());
  return found;
}

/// Whether a line in lower case is a label alone: "## verdict", "**final answer:**".
bool is_heading(std::string_view line, const Words& labels) {
  skip_mark(line);
  skip_around_back(line);
  for (const std::string_view colon : kColons) {
    if (line.ends_with(colon)) line.remove_suffix(colon.size());
  }
  skip_around_back(line);
  const auto label = std::ranges::find_if(labels, [&](std::string_view word) { return line.ends_with(word); });
  if (label == labels.end()) return false;
  line.remove_suffix(label->size());
  skip_around_back(line);
  return line.empty() || std::ranges::find(kBefore, line) != kBefore.end();
}

/// Whether a line does not count as the last one: it is empty, or a mark such as the end of a code fence.
bool is_mark(std::string_view line) { return line.find_first_not_of(" \t`*-_=") == std::string_view::npos; }

/// What the lines of a text say.
struct Lines {
  Found found;          ///< Of the last line that has a label
  bool opens = false;   ///< Whether the first line gives a verdict
  bool closes = false;  ///< Whether that line is the last one
  bool agree = true;    ///< Whether no line after one with a verdict has another verdict, or a label without one
};

class LineReader {
 public:
  LineReader(LineLabel label, bool allow_tie) : label_(label), allow_tie_(allow_tie), labels_(words_of(label)) {}

  /// @param low  in lower case; offsets count from its start
  Lines read(std::string_view low) {
    for (std::size_t start = 0; start < low.size();) {
      const std::size_t end = std::min(low.find_first_of("\r\n", start), low.size());
      if (const std::string_view line = low.substr(start, end - start); !is_mark(line)) read_line(line, start);
      start = end + 1;
    }
    return lines_;
  }

 private:
  void read_line(std::string_view line, std::size_t start) {
    const bool below = below_heading_, is_first = first_ || (below && heading_is_first_);
    lines_.closes = below_heading_ = false;
    if (below) {
      if (const Found found = read_value(line, allow_tie_); is_verdict(found)) {
        first_ = false;
        return add(found, start, is_first);
      }
    }
    if (is_heading(line, labels_)) {
      below_heading_ = true;
      heading_is_first_ = first_;
    }
    first_ = false;
    if (const std::size_t label = find_label(line, labels_); label < line.size())
      return add(read_labelled(line, label, allow_tie_, labels_), start, is_first);
    if (const Found found = read_sentence(line, allow_tie_, labels_); is_verdict(found)) add(found, start, is_first);
  }

  [[nodiscard]] bool is_verdict(const Found& found) const {
    return found.verdict != Verdict::unparsable && (label_ != LineLabel::answer || found.named);
  }

  void add(Found found, std::size_t start, bool is_first) {
    if (!is_verdict(found)) found = {};
    lines_.agree = lines_.agree && (lines_.found.verdict == Verdict::unparsable || lines_.found.verdict == found.verdict);
    found.at += start;
    lines_.found = found;
    lines_.closes = true;
    lines_.opens = lines_.opens || (is_first && found.verdict != Verdict::unparsable);
  }

  LineLabel label_;
  bool allow_tie_;
  const Words& labels_;
  Lines lines_;
  bool first_ = true;  ///< Whether no line has been read
  bool below_heading_ = false, heading_is_first_ = false;
};

}  // namespace

Found find_line(std::string_view text, std::string_view whole, bool allow_tie, LineLabel label) {
  const std::string low = lower(text);
  Lines lines = LineReader(label, allow_tie).read(low);
  const bool placed = lines.closes || (lines.opens && label == LineLabel::verdict);
  if (!lines.agree || !placed) return {};
  lines.found.at += static_cast<std::size_t>(text.data() - whole.data());
  return lines.found;
}

bool contradicts(std::string_view text, Verdict verdict, bool allow_tie) {
  const std::string low = lower(text);
  return std::ranges::any_of(std::array{LineLabel::verdict, LineLabel::judgement}, [&](LineLabel label) {
    const Lines lines = LineReader(label, allow_tie).read(low);
    return lines.found.verdict != Verdict::unparsable && (lines.found.verdict != verdict || !lines.agree);
  });
}

bool has_verdict_label(std::string_view low) { return has_label(low, words_of(LineLabel::verdict)); }

}  // namespace dmoerm::judge
