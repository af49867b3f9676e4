#include "eval/read_data.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "base/error.h"
#include "base/hash.h"
#include "base/joined_sets.h"
#include "base/log.h"
#include "eval/left_out.h"
#include "eval/scored.h"
#include "preference/group_reader.h"
#include "preference/ordered_pairs.h"
#include "preference/session_key.h"

namespace dmoerm::eval {
namespace {

using preference::Split;

Split split_named(const std::string& name) {
  for (const Split split : {Split::train, Split::validation, Split::test}) {
    if (preference::to_string(split) == name) return split;
  }
  return Split::unset;
}

/// Counts what the reader leaves out, tells the first of it, and gives up when too many lines are malformed.
class LeftOut {
 public:
  explicit LeftOut(std::int64_t bad_lines_max) : bad_lines_max_(bad_lines_max) {}

  void add(const preference::Dropped& dropped) {
    const std::string message = fmt::format("{}:{}: {}", dropped.file, dropped.line, dropped.reason);
    ++count_;
    if (dropped.bad && ++bad_ > bad_lines_max_)
      throw DataError(dropped.code, fmt::format("{} (more than --bad-lines {})", message, bad_lines_max_));
    warnings_.add(message, dropped.code);
  }
  /// Lines since the last call.
  std::int64_t take() { return std::exchange(count_, 0); }

 private:
  std::int64_t bad_lines_max_, count_ = 0, bad_ = 0;
  LeftOutWarnings warnings_;
};

/// Make one cluster of those that rows of one conversation name. It has the name of the first. @param names  of each item
void join_clusters(std::vector<Item>& items, const std::vector<std::vector<std::string>>& names) {
  JoinedSets joined(std::ssize(items));
  std::map<std::uint64_t, std::int64_t> of_conversation;
  for (std::size_t i = 0; i < items.size(); ++i) {
    const auto number = static_cast<std::int64_t>(i);
    joined.join(of_conversation.try_emplace(preference::session_key(items[i].prompt), number).first->second, number);
    joined.join_by_name(number, names[i]);
  }
  for (std::size_t i = 0; i < items.size(); ++i)
    items[i].cluster = items[static_cast<std::size_t>(joined.set_of(static_cast<std::int64_t>(i)))].cluster;
}

std::string files_of(const Data& data) {
  std::vector<std::string> files;
  for (const Data::File& file : data.files) files.push_back(file.path);
  return fmt::format("{}", fmt::join(files, ", "));
}

/// How many groups have each split: "train 20, none 3".
std::string counts_of(const std::vector<Split>& splits) {
  std::map<Split, std::int64_t> counts;
  for (const Split split : splits) ++counts[split];
  std::vector<std::string> words;
  for (const auto& [split, count] : counts)
    words.push_back(fmt::format("{} {}", split == Split::unset ? "none" : preference::to_string(split), count));
  return fmt::format("{}", fmt::join(words, ", "));
}

}  // namespace

void set_keys(Item& item) {
  item.prompt_key = fmt::format("{:016x}", preference::prompt_key(item.prompt));
  if (item.cluster.empty()) item.cluster = fmt::format("{:016x}", preference::session_key(item.prompt));
}

void expect_no_category_called_all(const Data& data) {
  const auto called = std::ranges::find(data.items, kAll, &Item::category);
  const bool alone = std::ranges::all_of(data.items, [](const Item& item) { return item.category == kAll; });
  if (called != data.items.end() && !alone)
    throw DataError("reserved-category-name",
                    fmt::format("{}:{}: the category \"{}\" has the name of the row over all categories: call it otherwise",
                                called->file, called->line, kAll));
}

std::string order_of(const Item& item) {
  std::string text;
  for (const auto& [label, pairs] : item.pairs) {
    text += '\x1d' + label;
    for (const preference::Preference& p : pairs) text += fmt::format("\x1e{}>{}", p.winner, p.loser);
  }
  for (const auto& [a, b] : item.ties) text += fmt::format("\x1e{}={}", a, b);
  return text;
}

void warn_of_repeated(const Data& data, const std::string& what, const std::function<std::string(const Item&)>& said_by) {
  std::map<std::uint64_t, const Item*> first;
  std::int64_t repeated = 0;
  std::string example;
  for (const Item& item : data.items) {
    const std::string said = said_by(item);
    if (said.empty()) continue;
    std::string text = fmt::format("{}\x1d{:016x}{}", item.category, preference::prompt_key(item.prompt), said);
    for (const std::string& response : item.responses) text += '\x1d' + response;
    const auto [found, is_new] = first.try_emplace(stable_hash(text), &item);
    if (!is_new && ++repeated == 1)
      example = fmt::format("{}:{}, which repeats {}:{}", item.file, item.line, found->second->file, found->second->line);
  }
  if (repeated > 0)
    spdlog::warn("{} of an earlier one count again: {} of {}, the first at {}", what, repeated, data.items.size(), example);
}

Item item_of(preference::Group group, double score_gap_min) {
  Item item;
  std::set<std::string> labels{std::string(preference::kOverall)};
  for (const preference::StatedPair& p : group.pairs) labels.insert(p.label);
  for (const preference::RecordedVerdict& v : group.verdicts) labels.insert(v.point);
  for (const preference::Response& r : group.responses) {
    for (const auto& [point, score] : r.scores) labels.insert(point);
  }
  for (const std::string& label : labels) {
    std::vector<preference::Preference> pairs = preference::ordered_pairs(group, label, score_gap_min);
    if (!pairs.empty()) item.pairs[label] = std::move(pairs);
    const std::vector<double> scores = preference::scores_of(group, label);
    if (std::ranges::any_of(scores, [](double s) { return !std::isnan(s); })) item.scores[label] = scores;
  }
  if (const auto gold = item.scores.find(std::string(preference::kOverall)); gold != item.scores.end()) {
    const auto stated = [&](std::size_t a, std::size_t b) {
      return std::ranges::any_of(overall_pairs(item), [&](const preference::Preference& p) {
        return std::minmax(p.winner, p.loser) == std::minmax(static_cast<int>(a), static_cast<int>(b));
      });
    };
    for (std::size_t a = 0; a < gold->second.size(); ++a) {
      for (std::size_t b = a + 1; b < gold->second.size(); ++b) {
        if (gold->second[a] == gold->second[b] && !stated(a, b)) item.ties.emplace_back(a, b);
      }
    }
  }
  for (preference::Response& r : group.responses) item.responses.push_back(std::move(r.text));
  item.id = std::move(group.id);
  item.file = std::move(group.file);
  item.line = group.line;
  item.category = std::move(group.category);
  if (!group.clusters.empty()) item.cluster = group.clusters.front();
  item.prompt = std::move(group.prompt);
  item.places = std::move(group.places);
  set_keys(item);
  return item;
}

void take_split(Data& data, const std::vector<Split>& splits, const std::string& wanted) {
  const bool named = std::ranges::any_of(splits, [](Split s) { return s != Split::unset; });
  const bool tests = std::ranges::find(splits, Split::test) != splits.end();
  data.split = wanted.empty() ? (tests ? "test" : "all") : wanted;
  if (wanted.empty() && named && !tests)
    throw DataError("no-test-split", fmt::format("{}: the rows name splits ({}), but none of them \"test\": name the split to "
                                                 "evaluate with --split, or --split all",
                                                 files_of(data), counts_of(splits)));
  if (data.split == "all") return;
  const Split split = split_named(data.split);
  std::vector<Item> kept;
  for (std::size_t i = 0; i < data.items.size(); ++i) {
    if (splits[i] == split) {
      kept.push_back(std::move(data.items[i]));
      continue;
    }
    const auto file = std::ranges::find(data.files, data.items[i].file, &Data::File::path);
    if (file != data.files.end()) ++file->other_split;
  }
  if (kept.empty())
    throw DataError("split-is-empty", fmt::format("{}: --split {}: none of the {} groups belongs to it; their splits: {}",
                                                  files_of(data), data.split, splits.size(), counts_of(splits)));
  data.items = std::move(kept);
}

Data read_data(const std::vector<std::string>& files, const DataOptions& options) {
  Data data;
  std::vector<Split> splits;
  std::vector<std::vector<std::string>> clusters;
  LeftOut left_out(options.bad_lines_max);
  std::int64_t merged = 0;
  std::string first_merged;
  for (const std::string& file : files) {
    preference::GroupReader reader(
        file, options.format, [&](const preference::Dropped& d) { left_out.add(d); }, options.bad_lines_max);
    reader.read_cluster(options.cluster);
    const std::size_t before = data.items.size();
    while (std::optional<preference::Group> group = reader.next()) {
      splits.push_back(group->split);
      preference::expect_cluster(*group, options.cluster);
      clusters.push_back(group->clusters);
      if (group->merged > 0 && merged == 0) first_merged = fmt::format("{}:{}", group->file, group->line);
      merged += group->merged;
      Item item = item_of(std::move(*group), options.score_gap_min);
      if (item.category.empty()) item.category = options.category;
      item.number = std::ssize(data.items);
      data.items.push_back(std::move(item));
    }
    data.files.push_back({file, sha256_file(file), reader.format() != nullptr ? reader.format()->name : "",
                          std::ssize(data.items) - static_cast<std::int64_t>(before), left_out.take()});
  }
  if (merged > 0) spdlog::warn("[eval] {}: {}, the first at {}", preference::kMergedNote, merged, first_merged);
  if (data.items.empty()) throw DataError("nothing-to-evaluate", fmt::format("{}: no group to evaluate", files.front()));
  if (!options.cluster.empty()) join_clusters(data.items, clusters);  // else a conversation is a cluster
  take_split(data, splits, options.split);
  for (const Data::File& file : data.files) {
    if (file.items > 0 && file.other_split == file.items)
      spdlog::warn("[eval] {}: none of its {} groups is in the split {}, which other files have: name the split with --split",
                   file.path, file.items, data.split);
  }
  expect_no_category_called_all(data);
  warn_of_repeated(data, "[eval] groups with the prompt, responses and order", order_of);
  if (std::ranges::all_of(data.items, [](const Item& item) { return item.pairs.empty(); }))
    throw DataError("nothing-to-evaluate",
                    fmt::format("{}: none of the {} groups has a pair of responses whose order is known{}", files.front(),
                                data.items.size(), options.score_gap_min > 0 ? "; lower --score-gap" : ""));
  return data;
}

}  // namespace dmoerm::eval
