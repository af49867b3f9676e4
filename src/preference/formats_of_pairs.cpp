#include "preference/formats_of_pairs.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <string_view>
#include <utility>

#include "base/text.h"
#include "preference/implicit_prompt.h"
#include "preference/row_error.h"
#include "preference/row_fields.h"

namespace dmoerm::preference {

using nlohmann::json;

namespace {

bool equal(const Message& a, const Message& b) { return a.role == b.role && a.content == b.content; }

bool equal(const std::vector<Message>& a, const std::vector<Message>& b) {
  return std::ranges::equal(a, b, [](const Message& x, const Message& y) { return equal(x, y); });
}

bool ends_with(const std::vector<Message>& all, const std::vector<Message>& end) {
  return all.size() >= end.size() && equal({all.end() - static_cast<std::ptrdiff_t>(end.size()), all.end()}, end);
}

/// Whether some messages stand in a conversation one after the other.
bool holds(const std::vector<Message>& all, const std::vector<Message>& part) {
  const auto same = [](const Message& x, const Message& y) { return equal(x, y); };
  // Not ranges::search: clang 14, which builds the fuzzers, cannot read it.
  return !part.empty() && std::search(all.begin(), all.end(), part.begin(), part.end(), same) != all.end();
}

/// The prompt in column `column`, after the turns of `history`, a column of LLaMA-Factory.
std::vector<Message> stated_prompt(const json& row, const std::string& column) {
  std::vector<Message> prompt = prompt_messages(row[column], column.c_str());
  if (prompt.empty()) throw RowError("empty-prompt", fmt::format("\"{}\": expected a prompt, found an empty list", column));
  if (column == "instruction" && has(row, {"input"})) {
    std::string& text = prompt.back().content;
    if (const std::string more = text_of(row["input"], "input"); !more.empty()) text += (text.empty() ? "" : "\n") + more;
  }
  const bool blank =
      has(row, {"history"}) && row["history"].is_string() && is_blank(row["history"].get_ref<const std::string&>());
  if (blank || !has(row, {"history"})) return prompt;
  std::vector<Message> all;
  for (const json& turn : need_list(row, "history")) {
    if (!turn.is_array() || turn.size() != 2)
      throw RowError("history-not-pairs",
                     fmt::format("\"history\": expected lists of question and answer, found {}", shown(turn)));
    all.push_back({"user", text_of(turn[0], "history")});
    all.push_back({"assistant", text_of(turn[1], "history")});
  }
  all.insert(all.end(), prompt.begin(), prompt.end());
  return all;
}

/// A response with the conversation before it.
Completion response_of(const json& value, const char* key) {
  if (value.is_string()) {
    std::vector<Message> messages = transcript_of(value.get<std::string>());
    if (!messages.empty() && messages.back().role != "assistant")
      throw RowError::unusable("transcript-ends-with-user",
                               fmt::format("\"{}\" is a transcript that does not end with a turn of the assistant", key));
    if (!messages.empty()) {
      std::string text = std::move(messages.back().content);
      messages.pop_back();
      return {std::move(messages), std::move(text)};
    }
  }
  return completion_of(value, key);
}

double margin_of(const json& row) {
  const double margin = has(row, {"margin"}) ? number_of(row["margin"], "margin") : 0.0;
  if (margin < 0) throw RowError("margin-below-zero", fmt::format("\"margin\": expected a number >= 0, found {}", margin));
  return margin;
}

/// A number, also one in quotes.
std::optional<double> rating_in(const json& value) {
  if (value.is_number()) return value.get<double>();
  if (!value.is_string()) return std::nullopt;
  const std::string_view text = trim(value.get_ref<const std::string&>());
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size() ? std::optional(number) : std::nullopt;
}

/// Refuse a pair whose ratings, under a usual name such as chosen_rating or chosen-score, say that the rejected response is the
/// better one.
void expect_ratings_agree(const json& row) {
  constexpr std::array<std::string_view, 10> kStems = {"score",         "rating",    "reward",         "avg_rating",
                                                       "overall_score", "avg_score", "overall_rating", "mean_score",
                                                       "mean_rating",   "rank"};
  constexpr std::string_view kChosen = "chosen";
  for (const auto& [key, value] : row.items()) {
    const std::size_t at = key.find(kChosen);
    const auto chosen = rating_in(value);
    if (at == std::string::npos || !chosen) continue;
    std::string other = key, stem = lower(key);
    other.replace(at, kChosen.size(), "rejected");
    stem.erase(at, kChosen.size());
    std::ranges::replace(stem, '-', '_');
    const std::string_view name = trim(stem, "_. ");
    const auto rejected = row.contains(other) ? rating_in(row[other]) : std::nullopt;
    if (!rejected || std::ranges::find(kStems, name) == kStems.end()) continue;
    const bool by_rank = name == "rank";
    if (by_rank ? *chosen > *rejected : *chosen < *rejected)
      throw RowError("scores-contradict-pair", fmt::format("\"{}\": expected at {} \"{}\" = {}, found {}", key,
                                                           by_rank ? "most" : "least", other, *rejected, *chosen));
  }
}

/// Refuse a row of SafeRLHF that calls the unsafe one of its responses the safer one.
void expect_safer_is_safe(const json& row) {
  constexpr std::array kSafe = {"is_response_0_safe", "is_response_1_safe"};
  if (!has(row, {"safer_response_id", kSafe[0], kSafe[1]})) return;
  const bool second_is_safer = row["safer_response_id"] == 1;
  if (row["safer_response_id"] != 0 && !second_is_safer) return;
  const char *safer = kSafe.at(second_is_safer ? 1 : 0), *other = kSafe.at(second_is_safer ? 0 : 1);
  if (row[safer] == false && row[other] == true)
    throw RowError("scores-contradict-pair",
                   fmt::format("\"safer_response_id\": expected {}, as \"{}\" is false and \"{}\" is true; "
                               "found {}",
                               second_is_safer ? 0 : 1, safer, other, second_is_safer ? 1 : 0));
}

/// Add the two responses, the better one first, with the margin and scores that the row states.
void add_pair(const json& row, std::string chosen, std::string rejected, Group& group) {
  group.responses.push_back({std::move(chosen), kMissing, {}});
  group.responses.push_back({std::move(rejected), kMissing, {}});
  group.pairs.push_back({std::string(kOverall), 0, 1, margin_of(row)});
  expect_ratings_agree(row);
  if (!has(row, {"score_chosen", "score_rejected"})) return;
  group.responses[0].overall = number_of(row["score_chosen"], "score_chosen");
  group.responses[1].overall = number_of(row["score_rejected"], "score_rejected");
}

/// Two responses and a number that is negative if the first one is better, positive if the second one is, and zero for a tie.
Group signed_preference(const json& row, const char* prompt, std::array<const char*, 2> responses, const char* preference) {
  Group group;
  read_common(row, group);
  group.prompt = prompt_of(row, prompt);
  for (const char* key : responses) group.responses.push_back({response_text(row[key], key, group.prompt), kMissing, {}});
  const double strength = number_of(row[preference], preference);
  const int winner = strength < 0 ? 0 : 1;
  if (strength != 0) group.pairs.push_back({std::string(kOverall), winner, 1 - winner, 0.0});
  return group;
}

/// What a value names if it is the name of a response: "a" of "a", "model_a" or "Response A"; the value itself otherwise.
std::string choice_of(const json& value) {
  if (!value.is_string() || value.get_ref<const std::string&>().size() > 64) return "";
  std::string name = lower(trim(value.get_ref<const std::string&>()));
  std::ranges::replace_if(
      name, [](char c) { return c == ' ' || c == '-'; }, '_');
  for (const std::string_view front : {"response_", "model_", "output_", "completion_", "assistant_", "answer_"}) {
    if (name.starts_with(front)) return name.substr(front.size());
  }
  return name;
}

/// The columns in which the texts stand whose names "chosen" and "rejected" hold; "" if these are texts.
std::string columns_of_texts(const json& row) {
  const std::string good = choice_of(row["chosen"]), bad = choice_of(row["rejected"]);
  if (good.empty() || bad.empty() || good == bad) return "";
  const auto text = [&](const std::string& key) { return row.contains(key) && (row[key].is_string() || row[key].is_array()); };
  for (const std::string_view stem : {"response", "output", "completion", "text", "reply", "generation", "conversation"}) {
    for (const std::string_view joint : {"_", ""}) {
      const std::string a = fmt::format("{}{}{}", stem, joint, good), b = fmt::format("{}{}{}", stem, joint, bad);
      if (text(a) && text(b)) return fmt::format("\"{}\" and \"{}\"", a, b);
    }
  }
  for (const auto& [key, value] : row.items()) {  // the names of the models that wrote them
    const std::size_t at = key.find("model_");
    if (at != 0 || value != row["chosen"]) continue;
    for (const auto& [other, name] : row.items()) {
      if (other != key && other.starts_with("model_") && name == row["rejected"])
        return fmt::format("\"response_{}\" and \"response_{}\" or the like, as \"{}\" and \"{}\" say", key.substr(6),
                           other.substr(6), key, other);
    }
  }
  return "";
}

/// Refuse a row whose "chosen" and "rejected" are the names of its responses, not their texts.
void expect_texts_not_names(const json& row) {
  if (!row.contains("chosen") || !row.contains("rejected")) return;
  if (const std::string columns = columns_of_texts(row); !columns.empty())
    throw RowError("name-in-place-of-text",
                   fmt::format("\"chosen\" and \"rejected\": expected the texts of two responses, found the names {} and {}; the "
                               "texts stand in {}: put them in their place",
                               shown(row["chosen"]), shown(row["rejected"]), columns));
}

/// Take an answer off the end of a prompt of several messages: whole conversations stand beside the pair that was made of them.
void drop_answer(std::vector<Message>& prompt, const Completion& good, const Completion& bad) {
  if (prompt.size() < 2 || prompt.back().role != "assistant" || !good.before.empty()) return;
  const std::string_view last = trim(prompt.back().content);
  if (last == trim(good.text) || last == trim(bad.text)) prompt.pop_back();
}

/// @param guesses  whether a column of an unknown name may turn out to hold the prompt
Group parse_pair(const json& row, bool guesses) {
  Group group;
  read_common(row, group);
  expect_texts_not_names(row);
  const json& chosen = row.contains("chosen") ? row["chosen"] : need(row, "text_chosen");
  const json& rejected = row.contains("rejected") ? row["rejected"] : need(row, "text_rejected");
  Completion good = response_of(chosen, "chosen"), bad = response_of(rejected, "rejected");
  if (!equal(good.before, bad.before)) {
    throw RowError::unusable("pair-parts-before-last-message",
                             "\"chosen\" and \"rejected\" part before their last message: a group holds one prompt");
  }
  const char* column = pair_prompt_column(row);
  const bool whole = !good.before.empty() && good.before.front().role != "assistant";
  if (column != nullptr && whole && std::string_view(column) != "prompt")
    column = nullptr;  // the conversation is complete; the column may hold anything
  if (column != nullptr) group.prompt = stated_prompt(row, column);
  drop_answer(group.prompt, good, bad);
  if (column == nullptr && good.before.empty()) {
    if (guesses) expect_prompt_in_no_column(row, good.text, bad.text);
    const std::size_t shared = implicit_prompt_size(row, good.text, bad.text);
    group.prompt = {{"user", good.text.substr(0, shared)}};
    good.text.erase(0, shared);
    bad.text.erase(0, shared);
  } else if (ends_with(good.before, group.prompt)) {
    group.prompt = std::move(good.before);  // whole conversations that repeat the prompt, if the row states one
  } else if (!whole) {
    group.prompt.insert(group.prompt.end(), good.before.begin(), good.before.end());
  } else if (holds(good.before, group.prompt)) {
    group.prompt = std::move(good.before);  // the prompt was the first question of a longer conversation
  } else if (!ends_with(group.prompt, good.before)) {
    throw RowError("completion-without-prompt",
                   fmt::format("\"chosen\": expected it to repeat \"prompt\" or to continue it, found {}", shown(chosen)));
  }
  add_system(row, group.prompt);
  add_pair(row, std::move(good.text), std::move(bad.text), group);
  return group;
}

}  // namespace

Group parse_chosen_rejected(const json& row) { return parse_pair(row, true); }
Group parse_common_beginning(const json& row) { return parse_pair(row, false); }

Group parse_unlabelled(const json& row, const char* column) {
  Group group;
  if (column == nullptr) column = prompt_column(row);
  if (column == nullptr && has(row, {"prompt"}))
    throw RowError("field-of-wrong-type",
                   fmt::format("\"prompt\": expected a text or a list of messages, found {}", shown(row["prompt"])));
  if (column == nullptr) throw RowError("no-prompt-column", fmt::format("expected the key \"prompt\", found {}", keys_of(row)));
  group.prompt = stated_prompt(row, column);
  add_system(row, group.prompt);
  if (has(row, {"response", "responses"}))
    throw RowError("response-and-responses", "expected \"response\" or \"responses\", found both");
  if (has(row, {"response"})) {
    group.responses.push_back({response_text(row["response"], "response", group.prompt), kMissing, {}});
    return group;
  }
  for (const json& text : need_list(row, "responses"))
    group.responses.push_back({response_text(text, "responses", group.prompt), kMissing, {}});
  return group;
}

Group parse_rewardbench(const json& row) {
  Group group = parse_chosen_rejected(row);
  if (group.category.empty()) group.category = text_of(row["subset"], "subset");
  return group;
}

Group parse_swift(const json& row) {
  Group group;
  read_common(row, group);
  Completion chosen = completion_of(need_list(row, "messages"), "messages");
  group.prompt = std::move(chosen.before);
  if (!has(row, {"rejected_response"})) {
    Completion bad = completion_of(row["rejected_messages"], "rejected_messages");
    if (!bad.before.empty() && !equal(bad.before, group.prompt))
      throw RowError::unusable("pair-parts-before-last-message",
                               "\"messages\" and \"rejected_messages\" part before their last message: a group holds one prompt");
    add_system(row, group.prompt);
    add_pair(row, std::move(chosen.text), std::move(bad.text), group);
    return group;
  }
  add_system(row, group.prompt);
  std::string rejected = response_text(row["rejected_response"], "rejected_response", group.prompt);
  add_pair(row, std::move(chosen.text), std::move(rejected), group);
  return group;
}

Group parse_helpsteer_preference(const json& row) {
  return signed_preference(row, "prompt", {"response_1", "response_2"}, "preference_strength");
}

Group parse_helpsteer3(const json& row) {
  Group group = signed_preference(row, "context", {"response1", "response2"}, "overall_preference");
  if (group.category.empty() && has(row, {"domain"})) group.category = text_of(row["domain"], "domain");
  return group;
}

Group parse_safe_rlhf(const json& row) {
  Group group;
  read_common(row, group);
  group.prompt = prompt_of(row, "prompt");
  for (const char* key : {"response_0", "response_1"})
    group.responses.push_back({response_text(row[key], key, group.prompt), kMissing, {}});
  for (const auto& [key, label] : {std::pair{"better_response_id", std::string(kOverall)}, {"safer_response_id", "safety"}}) {
    if (!has(row, {key})) continue;
    const double winner = number_of(row[key], key);
    if (winner != -1 && winner != 0 && winner != 1)
      throw RowError("response-id-out-of-range", fmt::format("\"{}\": expected 0, 1 or -1, found {}", key, shown(row[key])));
    if (winner >= 0) group.pairs.push_back({label, static_cast<int>(winner), 1 - static_cast<int>(winner), 0.0});
  }
  expect_safer_is_safe(row);
  return group;
}

Group parse_arena(const json& row) {
  Group group;
  read_common(row, group);
  Completion a = completion_of(need_list(row, "conversation_a"), "conversation_a");
  Completion b = completion_of(need_list(row, "conversation_b"), "conversation_b");
  if (!equal(a.before, b.before)) {
    throw RowError::unusable(
        "pair-parts-before-last-message",
        "\"conversation_a\" and \"conversation_b\" part before their last message: a group holds one prompt");
  }
  group.prompt = std::move(a.before);
  add_system(row, group.prompt);
  for (std::string* text : {&a.text, &b.text}) group.responses.push_back({std::move(*text), kMissing, {}});
  const std::string winner = text_of(row["winner"], "winner");
  if (winner == "model_a" || winner == "model_b") {
    const int first = winner == "model_a" ? 0 : 1;
    group.pairs.push_back({std::string(kOverall), first, 1 - first, 0.0});
  } else if (!winner.starts_with("tie") && winner != "both_bad") {
    throw RowError("unknown-winner",
                   fmt::format("\"winner\": expected model_a, model_b, both_bad or tie, found {}", shown(row["winner"])));
  }
  return group;
}

Group parse_authors_points(const json& row) {
  Group group;
  read_common(row, group);
  group.prompt = prompt_of(row, "query");
  const json &responses = need_list(row, "responses"), &rank = need_list(row, "rank");
  if (responses.size() != 2 || rank.size() != 2) {
    throw RowError("ranks-not-one-each",
                   fmt::format("expected two \"responses\" and two ranks, found {} and {}", responses.size(), rank.size()));
  }
  for (const json& r : responses) group.responses.push_back({response_text(r, "responses", group.prompt), kMissing, {}});
  const double first = number_of(rank[0], "rank"), second = number_of(rank[1], "rank");
  const int winner = first < second ? 0 : 1;
  if (first != second) group.pairs.push_back({text_of(row["point"], "point"), winner, 1 - winner, 0.0});
  return group;
}

}  // namespace dmoerm::preference
