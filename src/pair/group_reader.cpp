#include "pair/group_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"

namespace dmoerm::pair {
namespace {

using nlohmann::json;
constexpr int kDepthMax = 64;

bool blank(const std::string& text) { return text.find_first_not_of(" \t\r\n") == std::string::npos; }

/// Parse one line; a nesting bomb is refused before it is built.
json parse_line(const std::string& line) {
  const auto limit = [](int depth, json::parse_event_t /*event*/, json& /*value*/) {
    if (depth > kDepthMax) throw RowError(fmt::format("nested deeper than {} levels", kDepthMax));
    return true;
  };
  try {
    return json::parse(line, limit);
  } catch (const json::exception& e) {
    const std::string text = e.what();  // "[json.exception.parse_error.101] parse error at line 1, column 9: ..."
    const auto cut = text.find("] ");
    throw RowError("not valid JSON: " + (cut == std::string::npos ? text : text.substr(cut + 2)));
  }
}

void check_group(const Group& group) {
  if (group.prompt.empty() || std::ranges::all_of(group.prompt, [](const Message& m) { return blank(m.content); })) throw RowError("the prompt is empty");
  for (std::size_t i = 0; i < group.responses.size(); ++i) {
    if (blank(group.responses[i].text)) throw RowError(fmt::format("response {} is empty", i));
  }
}

}  // namespace

std::string prompt_key(const std::vector<Message>& prompt) {
  std::string key;
  for (const Message& m : prompt) key += m.role + "\x1f" + m.content + "\x1e";
  return key;
}

void merge_equal_responses(Group& group) {
  std::vector<int> place;
  std::vector<Response> kept;
  for (Response& response : group.responses) {
    const auto same = std::ranges::find_if(kept, [&](const Response& k) { return k.text == response.text; });
    place.push_back(static_cast<int>(same - kept.begin()));
    if (same == kept.end()) {
      kept.push_back(std::move(response));
      continue;
    }
    if (std::isnan(same->overall)) same->overall = response.overall;
    same->scores.insert(response.scores.begin(), response.scores.end());
  }
  if (kept.size() == group.responses.size()) {
    group.responses = std::move(kept);
    return;
  }
  group.responses = std::move(kept);
  const auto move = [&](int& index) { index = place[static_cast<std::size_t>(index)]; };
  for (StatedPair& p : group.pairs) move(p.winner), move(p.loser);
  for (RecordedVerdict& v : group.verdicts) move(v.a), move(v.b);
  std::erase_if(group.pairs, [](const StatedPair& p) { return p.winner == p.loser; });
  std::erase_if(group.verdicts, [](const RecordedVerdict& v) { return v.a == v.b; });
}

GroupReader::GroupReader(const std::filesystem::path& path, const std::string& form, std::function<void(const Dropped&)> on_dropped)
    : path_(path.string()), lines_(path), form_(form == "auto" ? nullptr : &form_by_name(form)), on_dropped_(std::move(on_dropped)) {}

std::optional<Group> GroupReader::next_row() {
  std::string line;
  while (lines_.next(line)) {
    if (blank(line)) continue;
    try {
      const json row = parse_line(line);
      if (form_ == nullptr) {
        form_ = detect_form(row);
        if (form_ == nullptr) {
          throw DataError(fmt::format("{}:{}: this row has none of the known forms; its keys are {}. `dmoerm ingest --forms` lists what is read", path_, lines_.number(),
                                      row.is_object() ? [&] {
                                        std::string keys;
                                        for (const auto& [key, value] : row.items()) keys += (keys.empty() ? "" : ", ") + key;
                                        return keys;
                                      }() : "none: it is not an object"));
        }
      }
      if (!row.is_object() || !form_->matches(row)) throw RowError(fmt::format("expected a row of form {}: {}", form_->name, form_->looks));
      Group group = form_->parse(row);
      check_group(group);
      group.file = path_, group.line = lines_.number();
      return group;
    } catch (const RowError& e) {
      on_dropped_({path_, lines_.number(), e.what(), true});
    } catch (const json::exception& e) {
      on_dropped_({path_, lines_.number(), e.what(), true});
    }
  }
  return std::nullopt;
}

bool GroupReader::finish(Group& group) {
  merge_equal_responses(group);
  if (group.id.empty()) group.id = fmt::format("{}:{}", std::filesystem::path(path_).filename().string(), group.line);
  if (group.responses.size() >= 2) return true;
  on_dropped_({path_, group.line, "fewer than two different responses", false});
  return false;
}

std::optional<Group> GroupReader::next() {
  for (;;) {
    std::optional<Group> group = held_ ? std::move(held_) : next_row();
    held_.reset();
    if (!group) return std::nullopt;
    if (form_->merges_rows) {
      const std::string key = prompt_key(group->prompt);
      while ((held_ = next_row()) && prompt_key(held_->prompt) == key) group->responses.push_back(std::move(held_->responses.front()));
    }
    if (finish(*group)) return group;
  }
}

}  // namespace dmoerm::pair
