#include "data/store_builder.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>
#include <numeric>
#include <set>

#include "base/error.h"
#include "data/preference_rule.h"
#include "data/store_index.h"
#include "preference/swap_check.h"

namespace dmoerm::data {

std::int32_t NumberedNames::number_of(const std::string& name) {
  const auto [place, fresh] = numbers_.try_emplace(name, static_cast<std::int32_t>(list_.size()));
  if (fresh) list_.push_back(name);
  return place->second;
}

StoreBuilder::StoreBuilder(const std::filesystem::path& path, const std::vector<std::string>& categories, int threads)
    : file_(path, threads) {
  for (const std::string& name : categories) categories_.number_of(name);
  DMOERM_CHECK(labels_.number_of(std::string(preference::kOverall)) == kOverallLabel, "overall is the first label");
}

std::int32_t StoreBuilder::label_of(const preference::Group& group, const std::string& label) {
  return label == preference::kOverall ? kOverallLabel : labels_.number_of(group.category + "/" + label);
}

/// The columns of a store with this group only: the group and its responses are numbered from 0.
StoreColumns StoreBuilder::columns_of(const preference::Group& group, const PromptKeys& keys, const GroupLayout& layout,
                                      const std::vector<std::int32_t>& prompt) {
  StoreColumns c;
  c.tokens = layout.prefix;
  for (std::size_t r = 0; r < layout.responses.size(); ++r) {
    const preference::Response& response = group.responses[r];
    c.tokens.insert(c.tokens.end(), layout.responses[r].begin(), layout.responses[r].end());
    c.response_length.push_back(static_cast<std::int32_t>(layout.responses[r].size()));
    c.overall.push_back(response.overall);
    for (const auto& [point, value] : response.scores) {
      if (std::isnan(value)) continue;
      c.score_response.push_back(static_cast<std::int64_t>(r));
      c.score_label.push_back(label_of(group, point));
      c.score_value.push_back(value);
    }
  }
  const bool shared = prompt.size() <= layout.prefix.size() && std::equal(prompt.begin(), prompt.end(), layout.prefix.begin());
  if (!shared) c.tokens.insert(c.tokens.end(), prompt.begin(), prompt.end());
  c.prompt_shared = {shared ? static_cast<std::int32_t>(prompt.size()) : 0};
  c.prompt_extra = {shared ? 0 : static_cast<std::int32_t>(prompt.size())};
  c.prefix_length = {static_cast<std::int32_t>(layout.prefix.size())};
  c.response_count = {static_cast<std::int32_t>(layout.responses.size())};
  c.category = {categories_.number_of(group.category)};
  c.id_length = {static_cast<std::int32_t>(group.id.size())};
  c.id_bytes.assign(group.id.begin(), group.id.end());
  c.file = {files_.number_of(group.file)};
  c.line = {group.line};
  c.prompt_key = {keys.prompt};
  c.session_key = {keys.session};
  for (const preference::StatedPair& p : group.pairs) {
    c.pair_group.push_back(0);
    c.pair_label.push_back(label_of(group, p.label));
    c.pair_winner.push_back(p.winner);
    c.pair_loser.push_back(p.loser);
    c.pair_margin.push_back(static_cast<float>(p.margin));
  }
  for (const preference::RecordedVerdict& v : group.verdicts) {
    c.verdict_group.push_back(0);
    c.verdict_label.push_back(label_of(group, v.point));
    c.verdict_a.push_back(v.a);
    c.verdict_b.push_back(v.b);
    c.verdict_outcome.push_back(static_cast<std::uint8_t>(preference::check_swap(v.first_order, v.second_order)));
  }
  return c;
}

void StoreBuilder::count_pairs(const StoreColumns& one, const std::string& category, preference::Split split,
                               const config::ScoreGap& score_gap_min) {
  const std::array<std::int64_t, 2> responses{0, std::ssize(one.response_length)}, pairs{0, std::ssize(one.pair_group)},
      verdicts{0, std::ssize(one.verdict_group)};
  std::vector<std::int64_t> scores(one.response_length.size() + 1, 0);  // where each response's begin
  for (const std::int64_t response : one.score_response) ++scores[static_cast<std::size_t>(response) + 1];
  std::partial_sum(scores.begin(), scores.end(), scores.begin());
  IndexView index;
  index.responses = responses, index.pairs = pairs, index.verdicts = verdicts, index.scores = scores;
  std::set<std::int32_t> labels{kOverallLabel};
  for (const auto* column : {&one.score_label, &one.pair_label, &one.verdict_label})
    labels.insert(column->begin(), column->end());
  std::size_t total = 0;
  for (const std::int32_t label : labels) {
    const std::string& name = labels_.list()[static_cast<std::size_t>(label)];
    const std::string point = label == kOverallLabel ? name : name.substr(category.size() + 1);
    const std::size_t ordered = preferences_of(view_of(one), index, 0, label, score_gap_min.of(point)).size();
    total += ordered;
    pairs_[category][point][static_cast<std::size_t>(split)] += static_cast<std::int64_t>(ordered);
  }
  groups_without_pairs_ += total == 0 ? 1 : 0;
}

void StoreBuilder::append(StoreColumns& one) {
  for (std::int64_t& response : one.score_response) response += responses_;
  std::ranges::fill(one.pair_group, groups_);
  std::ranges::fill(one.verdict_group, groups_);
  responses_ += static_cast<std::int64_t>(one.response_length.size());
  ++groups_;
  StoreColumns::each([](const char*, auto& all, const auto& more) { all.insert(all.end(), more.begin(), more.end()); }, columns_,
                     one);
}

void StoreBuilder::add(const preference::Group& group, const PromptKeys& keys, const GroupLayout& layout,
                       const std::vector<std::int32_t>& prompt, preference::Split split, double weight,
                       const config::ScoreGap& score_gap_min) {
  StoreColumns one = columns_of(group, keys, layout, prompt);
  one.split = {static_cast<std::uint8_t>(split)};
  one.weight = {static_cast<float>(weight)};
  count_pairs(one, group.category, split, score_gap_min);
  append(one);
  file_.write_chunks(columns_);
}

void StoreBuilder::finish(const std::string& provenance, std::int64_t head_tokens) {
  file_.finish(columns_, {categories_.list(), files_.list(), labels_.list(), provenance, head_tokens});
}

}  // namespace dmoerm::data
