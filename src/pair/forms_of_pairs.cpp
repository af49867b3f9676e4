// Forms with two responses of which one is stated to be better.
#include <fmt/format.h>

#include <algorithm>

#include "pair/row_fields.h"

namespace dmoerm::pair {

using nlohmann::json;

namespace {

bool equal(const Message& a, const Message& b) { return a.role == b.role && a.content == b.content; }

bool equal(const std::vector<Message>& a, const std::vector<Message>& b) {
  return std::ranges::equal(a, b, [](const Message& x, const Message& y) { return equal(x, y); });
}

bool ends_with(const std::vector<Message>& all, const std::vector<Message>& end) {
  return all.size() >= end.size() && equal({all.end() - static_cast<std::ptrdiff_t>(end.size()), all.end()}, end);
}

/// Where two texts part, moved back to the border before the word: white space belongs to what follows it.
std::size_t shared_text(const std::string& a, const std::string& b) {
  const auto space = [](char c) { return c == ' ' || c == '\n' || c == '\t'; };
  std::size_t n = static_cast<std::size_t>(std::ranges::mismatch(a, b).in1 - a.begin());
  while (n > 0 && !space(a[n - 1])) --n;
  while (n > 0 && space(a[n - 1])) --n;
  return n;
}

double margin_of(const json& row) {
  const double margin = has(row, {"margin"}) ? number_of(row["margin"], "margin") : 0.0;
  if (margin < 0) throw RowError(fmt::format("\"margin\": expected a number >= 0, found {}", margin));
  return margin;
}

/// Add the two responses, better one first, with what the row says about them.
void add_pair(const json& row, std::string chosen, std::string rejected, Group& group) {
  group.responses.push_back({std::move(chosen), kMissing, {}});
  group.responses.push_back({std::move(rejected), kMissing, {}});
  group.pairs.push_back({std::string(kOverall), 0, 1, margin_of(row)});
  if (!has(row, {"score_chosen", "score_rejected"})) return;
  group.responses[0].overall = number_of(row["score_chosen"], "score_chosen");
  group.responses[1].overall = number_of(row["score_rejected"], "score_rejected");
  if (group.responses[0].overall < group.responses[1].overall) {
    throw RowError(fmt::format("\"score_chosen\": expected at least \"score_rejected\" = {}, found {}",
                               group.responses[1].overall, group.responses[0].overall));
  }
}

}  // namespace

Group parse_chosen_rejected(const json& row) {
  Group group;
  read_common(row, group);
  const bool explicit_prompt = has(row, {"prompt"});
  const json& chosen = row.contains("chosen") ? row["chosen"] : need(row, "text_chosen");
  const json& rejected = row.contains("rejected") ? row["rejected"] : need(row, "text_rejected");
  if (!explicit_prompt && chosen.is_string()) {
    std::string good = chosen.get<std::string>(), bad = text_of(rejected, "rejected");
    const std::size_t shared = shared_text(good, bad);
    group.prompt = {{"user", good.substr(0, shared)}};
    add_pair(row, good.substr(shared), bad.substr(shared), group);
    return group;
  }
  Completion good = completion_of(chosen, "chosen"), bad = completion_of(rejected, "rejected");
  if (!equal(good.before, bad.before)) {
    throw RowError::unusable("\"chosen\" and \"rejected\" part before their last message: a group holds one prompt");
  }
  if (explicit_prompt) group.prompt = messages_of(row["prompt"], "prompt");
  if (ends_with(good.before, group.prompt)) {
    group.prompt = std::move(good.before);  // whole conversations, which repeat the prompt if the row states one
  } else if (good.before.empty() || good.before.front().role == "assistant") {
    group.prompt.insert(group.prompt.end(), good.before.begin(), good.before.end());
  } else {
    throw RowError(fmt::format("\"chosen\": expected it to repeat \"prompt\" or to go on from it, found {}", shown(chosen)));
  }
  add_pair(row, std::move(good.text), std::move(bad.text), group);
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
  add_pair(row, std::move(chosen.text), text_of(row["rejected_response"], "rejected_response"), group);
  return group;
}

Group parse_helpsteer_preference(const json& row) {
  Group group;
  read_common(row, group);
  group.prompt = messages_of(row["prompt"], "prompt");
  for (const char* key : {"response_1", "response_2"}) group.responses.push_back({text_of(row[key], key), kMissing, {}});
  const double strength = number_of(row["preference_strength"], "preference_strength");
  const int winner = strength < 0 ? 0 : 1;
  if (strength != 0) group.pairs.push_back({std::string(kOverall), winner, 1 - winner, 0.0});
  return group;
}

Group parse_authors_points(const json& row) {
  Group group;
  read_common(row, group);
  group.prompt = messages_of(row["query"], "query");
  const json &responses = need_list(row, "responses"), &rank = need_list(row, "rank");
  if (responses.size() != 2 || rank.size() != 2) {
    throw RowError(fmt::format("expected two \"responses\" and two ranks, found {} and {}", responses.size(), rank.size()));
  }
  for (const json& r : responses) group.responses.push_back({text_of(r, "responses"), kMissing, {}});
  const double first = number_of(rank[0], "rank"), second = number_of(rank[1], "rank");
  const int winner = first < second ? 0 : 1;
  if (first != second) group.pairs.push_back({text_of(row["point"], "point"), winner, 1 - winner, 0.0});
  return group;
}

}  // namespace dmoerm::pair
