#include "preference/implicit_prompt.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <string_view>

#include "base/text.h"
#include "preference/row_error.h"
#include "preference/row_fields.h"

namespace dmoerm::preference {

using nlohmann::json;

namespace {

bool is_space(char c) { return c == ' ' || c == '\n' || c == '\t'; }

/// Length of the beginning that two texts share, in whole words. White space between words belongs to the word behind it. In
/// texts without white space the beginning ends between two characters.
std::size_t shared_text(const std::string& a, const std::string& b) {
  const auto parted = static_cast<std::size_t>(std::ranges::mismatch(a, b).in1 - a.begin());
  std::size_t n = parted;
  while (n > 0 && !is_space(a[n - 1])) --n;
  while (n > 0 && is_space(a[n - 1])) --n;
  if (n > 0 || std::ranges::any_of(a, is_space) || std::ranges::any_of(b, is_space)) return n;
  return utf8_prefix(a, parted).size();
}

/// Whether a column describes the row or its answers, whatever it says.
bool is_about_the_row(std::string_view key) {
  for (const std::string_view part :
       {"chosen", "rejected", "score",    "rating",   "reason",  "model",  "comment", "feedback",  "annotat", "remark", "note",
        "explan", "justif",   "rational", "critique", "evaluat", "review", "quality", "guideline", "rubric",  "meta"}) {
    if (key.find(part) != std::string_view::npos) return true;
  }
  for (const std::string_view end : {"_id", "_name", "_type", "_source", "_url", "_path", "_at", "_date", "_hash", "_title",
                                     "_label", "_category", "_topic", "_tag", "_tags", "_by", "_lang", "_status", "_version"}) {
    if (key.ends_with(end)) return true;
  }
  constexpr std::array<std::string_view, 32> kAbout = {
      "id",     "label",       "category", "split",   "subset",   "language",     "lang",       "domain",
      "topic",  "subject",     "tag",      "tags",    "worker",   "author",       "license",    "citation",
      "url",    "link",        "answer",   "answers", "solution", "target",       "gold",       "reference",
      "policy", "description", "date",     "time",    "title",    "ground_truth", "created_at", "origin"};
  return std::ranges::find(kAbout, key) != kAbout.end();
}

/// Whether a column's name is one of a prompt, so that any text in it is one.
bool names_a_prompt(std::string_view key) {
  constexpr std::array<std::string_view, 16> kPrompts = {
      "problem",       "user_prompt",   "user_message",      "user_query",  "user_input", "message", "post",  "inputs",
      "question_text", "question_body", "problem_statement", "prompt_text", "dialogue",   "dialog",  "human", "instructions"};
  return std::ranges::find(kPrompts, key) != kPrompts.end();
}

/// Whether a text has at least three words, or is a question; where words have no white space between them, six characters.
bool reads_as_sentence(std::string_view text) {
  std::size_t words = 0;
  for (std::size_t i = 0; i < text.size(); ++i) words += !is_space(text[i]) && (i == 0 || is_space(text[i - 1])) ? 1 : 0;
  const bool asks = text.ends_with('?') || text.ends_with("\uff1f");
  const bool is_script = std::ranges::count_if(text, [](char c) { return static_cast<unsigned char>(c) >= 0xE0; }) >= 6;
  return asks || words >= 3 || (words == 1 && is_script);
}

bool looks_like_messages(const json& value) {
  const json& first = value.is_array() && !value.empty() ? value.front() : value;
  if (!first.is_object()) return false;
  return (first.contains("role") || first.contains("from") || first.contains("speaker")) &&
         (first.contains("content") || first.contains("value") || first.contains("parts") || first.contains("text"));
}

/// The column in which the row seems to state its prompt, apart from the words that both responses share; null if none does.
const char* other_prompt(const json& row, std::string_view shared) {
  for (const auto& [column, value] : row.items()) {
    const std::string key = lower(column);
    if (key == "chosen" || key == "rejected" || key == "text_chosen" || key == "text_rejected" || is_about_the_row(key)) continue;
    if (looks_like_messages(value)) return column.c_str();
    if (!value.is_string()) continue;
    const std::string_view text = trim(value.get_ref<const std::string&>());
    if (text.empty() || shared.find(text) != std::string_view::npos) continue;
    const bool about = key == "source" || key == "dataset" || key == "type" || key == "task";  // of the row, unless they ask
    const bool asks = text.ends_with('?') && std::ranges::any_of(text, is_space);
    if (about ? asks : names_a_prompt(key) || reads_as_sentence(text)) return column.c_str();
  }
  return nullptr;
}

}  // namespace

void expect_prompt_in_no_column(const json& row, const std::string& chosen, const std::string& rejected) {
  const std::size_t shared = shared_text(chosen, rejected);
  const char* column = other_prompt(row, std::string_view(chosen).substr(0, shared));
  if (column == nullptr) return;
  throw RowError(
      "prompt-in-unknown-column",
      fmt::format("expected a column \"prompt\", found {}, and \"{}\", which seems to hold it: rename it to \"prompt\"{}",
                  keys_of(row), column,
                  shared > 0 ? fmt::format("; or, if the prompt is what both responses begin with, {}, say so with the format "
                                           "standard-implicit (data.inputs[].format), which does not look at the column",
                                           shown(json(chosen.substr(0, shared))))
                             : ""));
}

std::size_t implicit_prompt_size(const json& row, const std::string& chosen, const std::string& rejected) {
  const std::size_t shared = shared_text(chosen, rejected);
  if (row.contains("chosen") && row["chosen"].is_structured())
    throw RowError(
        "no-prompt",
        fmt::format("expected a column \"prompt\", or whole conversations in \"chosen\" and \"rejected\"; found a message "
                    "of the assistant alone, {}",
                    shown(row["chosen"])));
  if (row.contains("prompt"))
    throw RowError("no-prompt", fmt::format("\"prompt\": expected a text or messages, found {}", shown(row["prompt"])));
  if (shared == 0) {
    throw RowError("no-prompt",
                   "expected a column \"prompt\", or \"chosen\" and \"rejected\" that begin with the same prompt; found neither");
  }
  return shared;
}

}  // namespace dmoerm::preference
