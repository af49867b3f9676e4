#include "preference/group_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <string_view>
#include <unordered_map>

#include "base/error.h"
#include "base/json_problem.h"
#include "base/stop.h"
#include "base/text.h"
#include "preference/file_layout.h"
#include "preference/row_advice.h"
#include "preference/row_checks.h"
#include "preference/row_error.h"
#include "preference/row_fields.h"
#include "preference/session_key.h"

namespace dmoerm::preference {
namespace {

using nlohmann::json;
constexpr std::size_t kBlocksAhead = 8, kBlockBytes = std::size_t{64} << 10;  // what is read before it is asked for

/// The format that a row would have if its keys were written as usual; null if it has none then either.
const Format* format_but_for_names(const json& row) {
  if (!row.is_object()) return nullptr;
  json usual = json::object();
  for (const auto& [key, value] : row.items()) {
    std::string name = lower(trim(key));
    std::ranges::replace_if(
        name, [](char c) { return c == ' ' || c == '-'; }, '_');
    usual[name] = value;
  }
  return detect_format(usual);
}

void check_group(const Group& group) {
  if (group.responses.size() > kResponsesMax) {
    throw RowError("too-many-responses",
                   fmt::format("expected at most {} responses, found {}", kResponsesMax, group.responses.size()));
  }
}

/// Append the responses and labels of another row with the same prompt. If the splits differ, test wins over validation, and
/// validation over train.
void append_row(Group& group, Group& row) {
  if (group.split == Split::unset || (row.split != Split::unset && row.split > group.split)) group.split = row.split;
  for (std::string& key : row.unread) {
    if (std::ranges::find(group.unread, key) == group.unread.end()) group.unread.push_back(std::move(key));
  }
  if (row.clusters.empty()) group.clusters.clear();  // a row without the key is refused, also if it is not the first
  for (std::string& cluster : row.clusters) {
    if (!group.clusters.empty() && std::ranges::find(group.clusters, cluster) == group.clusters.end())
      group.clusters.push_back(std::move(cluster));
  }
  const auto shift = static_cast<int>(group.responses.size());
  for (Response& r : row.responses) group.responses.push_back(std::move(r));
  for (StatedPair& p : row.pairs) group.pairs.push_back({std::move(p.label), p.winner + shift, p.loser + shift, p.margin});
  for (RecordedVerdict& v : row.verdicts) {
    group.verdicts.push_back({std::move(v.point), v.a + shift, v.b + shift, v.first_order, v.second_order});
  }
}

/// The mean of the scores that are not missing. That of equal scores is the same score to the last bit.
double mean_of(std::vector<double> scores) {
  std::erase_if(scores, [](double score) { return std::isnan(score); });
  if (scores.empty()) return kMissing;
  std::ranges::sort(scores);  // so that the sum is the same in any order
  if (scores.front() == scores.back()) return scores.front();
  return std::accumulate(scores.begin(), scores.end(), 0.0) / static_cast<double>(scores.size());
}

/// Whether two responses have different scores under a label.
bool rated_apart(const Response& a, const Response& b) {
  const auto differ = [](double x, double y) { return x < y || x > y; };  // false where one is missing
  return differ(a.overall, b.overall) || std::ranges::any_of(a.scores, [&](const auto& score) {
           const auto found = b.scores.find(score.first);
           return found != b.scores.end() && differ(score.second, found->second);
         });
}

/// Give the first of some responses the means of their scores. One rater's score becomes the mean of that rater's.
void join_scores(std::vector<Response>& responses, const std::vector<std::size_t>& equal) {
  std::vector<double> overall;
  std::map<std::string, std::vector<double>> scores;
  Response& first = responses[equal.front()];
  for (const std::size_t i : equal) {
    overall.push_back(responses[i].overall);
    for (const auto& [label, score] : responses[i].scores) scores[label].push_back(score);
    for (const auto& [label, raters] : responses[i].raters) first.raters[label] = std::max(first.raters[label], raters);
  }
  first.overall = mean_of(std::move(overall));
  for (auto& [label, values] : scores) first.scores[label] = mean_of(std::move(values));
}

}  // namespace

void expect_cluster(const Group& group, const std::string& key) {
  if (!key.empty() && group.clusters.empty())
    throw DataError("row-without-cluster", fmt::format("{}:{}: the row has no text or number \"{}\", which --cluster names",
                                                       group.file, group.line, key));
}

void merge_equal_responses(Group& group, bool rows_repeat) {
  std::unordered_map<std::string_view, int> first;  // the views stay valid: the texts move only after the last look-up
  std::vector<int> place;
  std::vector<std::size_t> kept_from;
  std::map<std::size_t, std::vector<std::size_t>> equal;  // by the first of those with one text
  for (std::size_t i = 0; i < group.responses.size(); ++i) {
    const auto [same, fresh] = first.try_emplace(group.responses[i].text, static_cast<int>(kept_from.size()));
    place.push_back(same->second);
    if (fresh) {
      kept_from.push_back(i);
      continue;
    }
    const std::size_t earlier = kept_from[static_cast<std::size_t>(same->second)];
    equal.try_emplace(earlier, 1, earlier).first->second.push_back(i);
    if (!rows_repeat || rated_apart(group.responses[earlier], group.responses[i])) ++group.merged;
  }
  if (equal.empty()) return;
  for (const auto& [earlier, all] : equal) join_scores(group.responses, all);
  std::vector<Response> kept;
  for (const std::size_t i : kept_from) kept.push_back(std::move(group.responses[i]));
  replace_responses(group, std::move(kept), place);
  group.places = place;
}

std::vector<std::vector<double>> merge_rater_scores(const std::vector<std::vector<double>>& scores,
                                                    const std::vector<int>& places) {
  if (places.empty()) return scores;
  std::vector<std::vector<std::vector<double>>> given(static_cast<std::size_t>(std::ranges::max(places)) + 1);  // [kept][rater]
  for (std::size_t i = 0; i < scores.size(); ++i) {
    auto& raters = given.at(static_cast<std::size_t>(places.at(i)));
    raters.resize(std::max(raters.size(), scores[i].size()));
    for (std::size_t r = 0; r < scores[i].size(); ++r) raters[r].push_back(scores[i][r]);
  }
  std::vector<std::vector<double>> merged(given.size());
  for (std::size_t k = 0; k < given.size(); ++k) {
    for (std::vector<double>& of_rater : given[k]) merged[k].push_back(mean_of(std::move(of_rater)));
  }
  return merged;
}

GroupReader::GroupReader(const std::filesystem::path& path, const std::string& format,
                         std::function<void(const Dropped&)> on_dropped, std::int64_t unknown_max)
    : path_(path.string()),
      lines_(path),
      detected_(format == "auto"),
      unknown_max_(unknown_max),
      format_(detected_ ? nullptr : &format_by_name(format)),
      on_dropped_(std::move(on_dropped)) {}

void GroupReader::detect(const json& row) {
  format_ = detect_format(row);
  if (format_ != nullptr) return;
  std::string why = fmt::format("expected a row of a known data format, found {}",
                                row.is_object() ? "one with the keys " + keys_of(row) : shown(row));
  if (const std::string known = known_otherwise(row); !known.empty()) why += "; " + known;
  if (const Format* meant = format_but_for_names(row); meant != nullptr)
    why += fmt::format("; with its keys in lower case and without blanks it would be of the format {}: rename them", meant->name);
  if (row.is_object() && row.contains("prompt") && (row["prompt"].is_number() || row["prompt"].is_boolean()))
    why += fmt::format("; \"prompt\" is {} and no text", shown(row["prompt"]));
  if (unknown_++ == 0) first_unknown_ = fmt::format("{}:{}: {}", path_, lines_.number(), why);
  if (unknown_ > unknown_max_) refuse_unknown();
  throw RowError("no-known-format", why);
}

void GroupReader::refuse_unknown() const {
  const std::string more =
      unknown_ == 1 ? "" : fmt::format("; {} rows were tried, and none of them is of a known format", unknown_);
  throw DataError("no-known-format", fmt::format("{}{}; `dmoerm ingest --formats` lists the formats", first_unknown_, more));
}

bool GroupReader::fits(const json& row) const {
  if (format_->matches(row)) return true;
  const Format* other = detected_ ? detect_format(row) : nullptr;  // as texts and messages in one file
  return other != nullptr && other->parse == format_->parse;
}

RowError GroupReader::other_format(const json& row) const {
  const Format* other = detect_format(row);
  const std::string found =
      other == nullptr ? "found the keys " + keys_of(row) : fmt::format("found one of the format {}", other->name);
  return {"row-of-another-format",
          fmt::format("expected a row of the format {}: {}; {}", format_->name, format_->example, found)};
}

void GroupReader::read_on(Workers& workers) { parsing_ = std::make_unique<InOrder<std::vector<Row>>>(workers, kBlocksAhead); }

std::optional<Group> GroupReader::next_row() {
  for (;;) {
    if (stop_requested())
      throw Stopped("stopped-while-reading", fmt::format("reading {} was stopped by {}", path_, stop_signal()));
    std::optional<Row> row = read_row();
    if (!row) break;
    if (auto* group = std::get_if<Group>(&*row)) {
      any_ = true;
      return std::move(*group);
    }
    on_dropped_(std::move(std::get<Dropped>(*row)));
  }
  if (format_ == nullptr && unknown_ > 0) refuse_unknown();
  return std::nullopt;
}

std::optional<GroupReader::Row> GroupReader::read_row() {
  const bool is_first = format_ == nullptr || !any_;
  if (!is_first && parsing_) return take_parsed();
  std::string line;
  do {
    if (!lines_.next(line)) return std::nullopt;
  } while (is_blank(line));
  if (is_first) refuse_other_layout(line, {path_, lines_.number()});
  return parse(line, lines_.number(), [&](const json& row) {
    if (is_first) refuse_table_in_row(row, {path_, lines_.number()});
    if (format_ == nullptr) detect(row);
  });
}

std::optional<GroupReader::Row> GroupReader::take_parsed() {
  while (parsed_.empty()) {
    read_ahead();
    if (parsing_->empty()) {
      if (failure_) std::rethrow_exception(failure_);
      return std::nullopt;
    }
    for (Row& row : parsing_->take()) parsed_.push_back(std::move(row));
  }
  Row row = std::move(parsed_.front());
  parsed_.pop_front();
  return row;
}

void GroupReader::read_ahead() {
  while (!all_read_ && !parsing_->full()) {
    std::vector<std::pair<std::int64_t, std::string>> block;
    try {
      std::string line;
      for (std::size_t bytes = 0; bytes < kBlockBytes; bytes += line.size()) {
        all_read_ = !lines_.next(line);
        if (all_read_) break;
        if (!is_blank(line)) block.emplace_back(lines_.number(), line);
      }
    } catch (...) {  // it is thrown after the rows before it
      failure_ = std::current_exception();
      all_read_ = true;
    }
    if (block.empty()) continue;
    parsing_->give([this, lines = std::move(block)] {
      std::vector<Row> rows;
      for (const auto& [number, line] : lines) rows.push_back(parse(line, number, {}));
      return rows;
    });
  }
}

GroupReader::Row GroupReader::parse(const std::string& line, std::int64_t number,
                                    const std::function<void(const json&)>& look) const {
  try {
    const json row = parse_row(line);
    if (look) look(row);
    if (!row.is_object() || !fits(row)) throw other_format(row);
    Group group = parse_group(*format_, row, !detected_);
    if (const auto cluster = row.find(cluster_key_); !cluster_key_.empty() && cluster != row.end()) {
      if (cluster->is_string() && !cluster->get_ref<const std::string&>().empty())
        group.clusters.push_back(cluster->get<std::string>());
      if (cluster->is_number_integer()) group.clusters.push_back(cluster->dump());
    }
    check_group(group);
    group.file = path_;
    group.line = number;
    return group;
  } catch (const RowError& e) {
    return Dropped{path_, number, e.what(), e.code(), e.bad()};
  } catch (const json::exception& e) {
    return Dropped{path_, number, json_mismatch(e), "field-of-wrong-type", true};
  }
}

bool GroupReader::finish(Group& group) {
  const std::size_t given = group.responses.size();
  merge_equal_responses(group, format_->merges_rows);
  if (group.id.empty()) group.id = fmt::format("{}:{}", std::filesystem::path(path_).filename().string(), group.line);
  if (group.responses.size() >= 2) return true;
  if (given >= 2) {
    on_dropped_({path_, group.line,
                 fmt::format("expected different responses, found {} equal ones{}", given, unread_words(group)),
                 "responses-are-equal", true});
  } else {
    std::string why = "a single response: nothing to prefer it to";
    if (format_->merges_rows)
      why += " (rows of one prompt are one group only where they follow each other: sort the file by prompt)";
    on_dropped_({path_, group.line, why, "single-response", false});
  }
  return false;
}

std::optional<Group> GroupReader::next() {
  for (;;) {
    std::optional<Group> group = held_ ? std::move(held_) : next_row();
    held_.reset();
    if (!group) return std::nullopt;
    if (format_->merges_rows) {
      const std::string key = prompt_text(group->prompt);
      while ((held_ = next_row()) && group->responses.size() < kResponsesMax && prompt_text(held_->prompt) == key &&
             held_->category == group->category) {
        append_row(*group, *held_);
      }
    }
    if (finish(*group)) return group;
  }
}

}  // namespace dmoerm::preference
