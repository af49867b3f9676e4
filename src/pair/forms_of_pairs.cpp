// Forms with two responses of which one is stated to be better.
#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <utility>

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

/// Where two texts part, moved back to the border before the word: white space belongs to what follows it. In a text without
/// white space, to the border of a character.
std::size_t shared_text(const std::string& a, const std::string& b) {
  const auto space = [](char c) { return c == ' ' || c == '\n' || c == '\t'; };
  const auto parted = static_cast<std::size_t>(std::ranges::mismatch(a, b).in1 - a.begin());
  std::size_t n = parted;
  while (n > 0 && !space(a[n - 1])) --n;
  while (n > 0 && space(a[n - 1])) --n;
  if (n > 0 || std::ranges::any_of(a, space) || std::ranges::any_of(b, space)) return n;
  for (n = parted; n > 0 && n < a.size() && (static_cast<unsigned char>(a[n]) & 0xC0U) == 0x80U;) --n;
  return n;
}

/// A transcript as Anthropic's HH writes it, "\n\nHuman: ...\n\nAssistant: ...", as messages; nothing if it is none.
std::vector<Message> transcript_of(const std::string& text) {
  constexpr std::pair<std::string_view, const char*> kTurns[] = {{"\n\nHuman:", "user"}, {"\n\nAssistant:", "assistant"}};
  if (!text.starts_with(kTurns[0].first) || text.find(kTurns[1].first) == std::string::npos) return {};
  std::vector<Message> messages;
  for (std::size_t at = 0; at < text.size();) {
    const auto& [mark, role] = kTurns[text.compare(at, kTurns[0].first.size(), kTurns[0].first) == 0 ? 0 : 1];
    at += mark.size();
    const std::size_t end = std::min({text.find(kTurns[0].first, at), text.find(kTurns[1].first, at), text.size()});
    if (at < end && text[at] == ' ') ++at;
    messages.push_back({role, text.substr(at, end - at)});
    at = end;
  }
  return messages;
}

/// The prompt in a column of its own, behind the turns of `history` as LLaMA-Factory keeps them.
std::vector<Message> stated_prompt(const json& row, const std::string& column) {
  std::vector<Message> prompt;
  if (row[column].is_string()) prompt = transcript_of(row[column].get<std::string>());
  if (!prompt.empty() && prompt.back().role == "assistant" && prompt.back().content.empty())
    prompt.pop_back();  // asks for the response
  if (prompt.empty()) prompt = messages_of(row[column], column.c_str());
  if (prompt.empty()) throw RowError(fmt::format("\"{}\": expected a prompt, found an empty list", column));
  if (column == "instruction" && has(row, {"input"})) {
    std::string& text = prompt.back().content;
    if (const std::string more = text_of(row["input"], "input"); !more.empty()) text += (text.empty() ? "" : "\n") + more;
  }
  if (!has(row, {"history"})) return prompt;
  std::vector<Message> all;
  for (const json& turn : need_list(row, "history")) {
    if (!turn.is_array() || turn.size() != 2)
      throw RowError(fmt::format("\"history\": expected lists of question and answer, found {}", shown(turn)));
    all.push_back({"user", text_of(turn[0], "history")});
    all.push_back({"assistant", text_of(turn[1], "history")});
  }
  all.insert(all.end(), prompt.begin(), prompt.end());
  return all;
}

/// A response, with its conversation before it.
Completion response_of(const json& value, const char* key) {
  if (value.is_string()) {
    std::vector<Message> messages = transcript_of(value.get<std::string>());
    if (!messages.empty() && messages.back().role != "assistant")
      throw RowError::unusable(fmt::format("\"{}\" is a transcript that does not end with a turn of the assistant", key));
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
  const json& chosen = row.contains("chosen") ? row["chosen"] : need(row, "text_chosen");
  const json& rejected = row.contains("rejected") ? row["rejected"] : need(row, "text_rejected");
  Completion good = response_of(chosen, "chosen"), bad = response_of(rejected, "rejected");
  if (!equal(good.before, bad.before)) {
    throw RowError::unusable("\"chosen\" and \"rejected\" part before their last message: a group holds one prompt");
  }
  const char* column = prompt_column(row);
  const bool whole = !good.before.empty() && good.before.front().role != "assistant";
  if (column != nullptr && whole && std::string_view(column) != "prompt") column = nullptr;  // may be about something else
  if (column != nullptr) group.prompt = stated_prompt(row, column);
  if (column == nullptr && good.before.empty()) {
    const std::size_t shared = shared_text(good.text, bad.text);
    group.prompt = {{"user", good.text.substr(0, shared)}};
    good.text.erase(0, shared), bad.text.erase(0, shared);
  } else if (ends_with(good.before, group.prompt)) {
    group.prompt = std::move(good.before);  // whole conversations, which repeat the prompt if the row states one
  } else if (!whole) {
    group.prompt.insert(group.prompt.end(), good.before.begin(), good.before.end());
  } else if (!ends_with(group.prompt, good.before)) {
    throw RowError(fmt::format("\"chosen\": expected it to repeat \"prompt\" or to go on from it, found {}", shown(chosen)));
  }
  add_system(row, group.prompt);
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
  add_system(row, group.prompt);
  add_pair(row, std::move(chosen.text), text_of(row["rejected_response"], "rejected_response"), group);
  return group;
}

Group parse_helpsteer_preference(const json& row) {
  Group group;
  read_common(row, group);
  group.prompt = prompt_of(row, "prompt");
  for (const char* key : {"response_1", "response_2"}) group.responses.push_back({text_of(row[key], key), kMissing, {}});
  const double strength = number_of(row["preference_strength"], "preference_strength");
  const int winner = strength < 0 ? 0 : 1;
  if (strength != 0) group.pairs.push_back({std::string(kOverall), winner, 1 - winner, 0.0});
  return group;
}

Group parse_authors_points(const json& row) {
  Group group;
  read_common(row, group);
  group.prompt = prompt_of(row, "query");
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
