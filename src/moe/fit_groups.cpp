#include "moe/fit_groups.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/softplus.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <numeric>

namespace dmoerm::moe {

at::Tensor longs(const std::vector<std::int64_t>& values) {
  return at::tensor(at::ArrayRef<std::int64_t>(values), at::TensorOptions().dtype(at::kLong));
}

std::vector<std::size_t> numbers_below(std::size_t count) {
  std::vector<std::size_t> all(count);
  std::iota(all.begin(), all.end(), std::size_t{0});
  return all;
}

SomeGroups select_groups(const std::vector<ExpertFeatures::Group>& groups, const std::vector<std::size_t>& some) {
  SomeGroups selected;
  for (const std::size_t g : some) {
    selected.groups.push_back(groups[g]);
    selected.groups.back().first = std::ssize(selected.rows);
    for (std::int64_t i = 0; i < groups[g].count; ++i) selected.rows.push_back(groups[g].first + i);
  }
  return selected;
}

std::vector<std::vector<std::size_t>> groups_of_prompts(const std::vector<ExpertFeatures::Group>& groups,
                                                        const std::vector<std::size_t>& some) {
  std::vector<std::vector<std::size_t>> prompts;
  std::map<std::int64_t, std::size_t> place;
  for (const std::size_t g : some) {
    if (groups[g].pairs.empty()) continue;
    const std::int64_t prompt = groups[g].prompt;
    const bool is_new = prompt < 0 || place.try_emplace(prompt, prompts.size()).second;
    if (is_new) prompts.emplace_back();
    (is_new ? prompts.back() : prompts[place[prompt]]).push_back(g);
  }
  return prompts;
}

GroupFold fold_of(const std::vector<std::vector<std::size_t>>& prompts, std::size_t fold, std::size_t folds) {
  GroupFold cut;
  for (std::size_t i = 0; i < prompts.size(); ++i)
    std::ranges::copy(prompts[i], std::back_inserter(i % folds == fold ? cut.unseen : cut.seen));
  return cut;
}

PairRows pair_rows(const std::vector<ExpertFeatures::Group>& groups, const std::vector<std::size_t>& chosen) {
  std::vector<std::int64_t> rows, winner, loser;
  std::vector<float> weight, margin, target;
  std::map<std::size_t, std::int64_t> first;  // place of the first response of each chosen group
  for (const std::size_t g : chosen) first[g] = 0;
  for (auto& [g, place] : first) {
    place = std::ssize(rows);
    for (std::int64_t r = 0; r < groups[g].count; ++r) rows.push_back(groups[g].first + r);
  }
  for (const std::size_t g : chosen) {
    for (const preference::Preference& p : groups[g].pairs) {
      winner.push_back(first[g] + p.winner), loser.push_back(first[g] + p.loser);
      weight.push_back(1.0F / static_cast<float>(groups[g].pairs.size() * chosen.size()));
      margin.push_back(p.margin), target.push_back(p.target);
    }
  }
  const auto floats = [](const std::vector<float>& values) { return at::tensor(at::ArrayRef<float>(values)); };
  return {longs(rows), longs(winner), longs(loser), floats(weight), floats(margin), floats(target)};
}

at::Tensor pair_loss(const at::Tensor& rewards_N, const PairRows& pairs) {
  const at::Tensor gap = rewards_N.index_select(0, pairs.winner) - rewards_N.index_select(0, pairs.loser) - pairs.margin;
  return ((at::softplus(-gap) + (1 - pairs.target) * gap) * pairs.weight).sum();
}

}  // namespace dmoerm::moe
