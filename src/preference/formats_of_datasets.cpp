#include "preference/formats_of_datasets.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "base/text.h"
#include "preference/row_error.h"
#include "preference/row_fields.h"

namespace dmoerm::preference {

using nlohmann::json;

namespace {

constexpr std::pair<std::string_view, Split> kDomainEnds[] = {
    {"_train", Split::train}, {"_validation", Split::validation}, {"_test", Split::test}};

void prefer(int winner, Group& group) { group.pairs.push_back({std::string(kOverall), winner, 1 - winner, 0.0}); }

/// Whether a value says that a completion is good or bad: true, false, 1, 0, or, as it should not, another number or a word.
bool is_verdict(const json& value) {
  constexpr std::array<std::string_view, 30> kWords = {
      "true",    "false",     "yes",         "no",     "y",        "n",        "t",        "f",        "good",    "bad",
      "1",       "0",         "1.0",         "0.0",    "-1",       "desired",  "liked",    "up",       "down",    "like",
      "dislike", "desirable", "undesirable", "chosen", "rejected", "positive", "negative", "accepted", "correct", "incorrect"};
  if (value.is_boolean() || value.is_number()) return true;
  return value.is_string() && std::ranges::find(kWords, lower(trim(value.get_ref<const std::string&>()))) != kWords.end();
}

/// What a row's verdict says. @throws RowError for other words and numbers than true, false, 1 and 0
bool is_good(const json& row, const char* key) {
  const json& verdict = row[key];
  if (verdict.is_boolean()) return verdict.get<bool>();
  if (verdict == 0 || verdict == 1) return verdict == 1;
  throw RowError("field-of-wrong-type", fmt::format("\"{}\": expected true or false{}, found {}", key,
                                                    verdict.is_string() ? " without quotes" : "", shown(verdict)));
}

/// The question about a text: a post with its title and subreddit, or an article with its title.
std::string text_to_summarise(const json& info) {
  std::string text;
  const auto add = [&](const char* name, const char* key) {
    if (!has(info, {key})) return;
    const std::string value = text_of(info[key], key);
    if (!value.empty()) text += fmt::format("{}: {}\n\n", name, value);
  };
  add("SUBREDDIT", "subreddit");
  add("TITLE", "title");
  add("POST", "post");
  add("ARTICLE", "article");
  if (text.empty())
    throw RowError("empty-prompt", fmt::format("\"info\": expected a post or an article, found {}", keys_of(info)));
  return text + "TL;DR:";
}

}  // namespace

const char* verdict_key(const json& row) {
  for (const char* key : {"label", "kto_tag"}) {
    if (row.contains(key) && is_verdict(row[key])) return key;
  }
  return nullptr;
}

Group parse_shp(const json& row) {
  Group group;
  read_common(row, group);
  group.prompt = {{"user", text_of(row["history"], "history")}};
  for (const char* key : {"human_ref_A", "human_ref_B"}) group.responses.push_back({text_of(row[key], key), kMissing, {}});
  const double label = number_of(row["labels"], "labels");
  if (label != 0 && label != 1)
    throw RowError("response-id-out-of-range", fmt::format("\"labels\": expected 0 or 1, found {}", shown(row["labels"])));
  if (has(row, {"score_A", "score_B"})) {
    const double a = number_of(row["score_A"], "score_A"), b = number_of(row["score_B"], "score_B");
    if (label == 1 ? a < b : a > b)
      throw RowError("scores-contradict-pair",
                     fmt::format("\"labels\": expected {}, as \"score_A\" is {} and \"score_B\" is {}; found {}",
                                 label == 1 ? 0 : 1, a, b, label));
  }
  prefer(label == 1 ? 0 : 1, group);
  if (!group.category.empty() || !has(row, {"domain"})) return group;
  group.category = text_of(row["domain"], "domain");
  for (const auto& [end, split] : kDomainEnds) {
    if (!group.category.ends_with(end)) continue;
    group.category.resize(group.category.size() - end.size());
    if (group.split == Split::unset) group.split = split;
  }
  return group;
}

Group parse_webgpt(const json& row) {
  Group group;
  read_common(row, group);
  const json& question = row["question"];
  group.prompt = {{"user", text_of(question.is_object() ? need(question, "full_text") : question, "question")}};
  for (const char* key : {"answer_0", "answer_1"}) group.responses.push_back({text_of(row[key], key), kMissing, {}});
  const double first = number_of(row["score_0"], "score_0"), second = number_of(row["score_1"], "score_1");
  if (first != second) prefer(first > second ? 0 : 1, group);
  return group;
}

Group parse_summaries(const json& row) {
  Group group;
  read_common(row, group);
  if (!row["info"].is_object())
    throw RowError("field-of-wrong-type", fmt::format("\"info\": expected an object, found {}", shown(row["info"])));
  group.prompt = {{"user", text_to_summarise(row["info"])}};
  for (const json& summary : need_list(row, "summaries"))
    group.responses.push_back({text_of(need(summary, "text"), "text"), kMissing, {}});
  const double choice = number_of(row["choice"], "choice");
  if (group.responses.size() != 2 || (choice != 0 && choice != 1)) {
    throw RowError("response-id-out-of-range", fmt::format("\"choice\": expected 0 or 1 of two summaries, found {} of {}",
                                                           shown(row["choice"]), group.responses.size()));
  }
  prefer(choice == 0 ? 0 : 1, group);
  return group;
}

bool is_unpaired(const json& row) {
  return verdict_key(row) != nullptr &&
         ((has(row, {"completion"}) && prompt_column(row) != nullptr) || has_objects(row, "messages"));
}

Group parse_unpaired(const json& row) {
  Group group;
  read_common(row, group);
  Completion completion;
  if (has(row, {"completion"})) {
    group.prompt = prompt_of(row, prompt_column(row));
    completion.text = response_text(row["completion"], "completion", group.prompt);
  } else {
    completion = completion_of(row["messages"], "messages");
    group.prompt = std::move(completion.before);
    add_system(row, group.prompt);
  }
  const bool good = is_good(row, verdict_key(row));
  group.responses.push_back({std::move(completion.text), good ? 1.0 : 0.0, {}});
  return group;
}

}  // namespace dmoerm::preference
