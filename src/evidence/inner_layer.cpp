#include "evidence/inner_layer.h"

#include <map>
#include <string>
#include <utility>

#include "evidence/stack.h"

namespace dmoerm::evidence {

InnerLayer::InnerLayer(const data::TokenStore& store, const StoreScores& scores, const std::vector<CategoryData>& categories,
                       std::int64_t fold, const at::Tensor& x_NF)
    : store_(store), scores_(scores), categories_(categories), fold_(fold), x_NF_(x_NF) {
  for (const CategoryData& category : categories_) {
    LabelledGroups own;
    for (std::size_t g = 0; g < category.groups.size(); ++g) {
      if (!category.trains(g, fold_)) continue;
      own.groups.push_back(category.rows[g]);
      own.fold.push_back(category.inner[g]);
    }
    training_.append(category.among_all(std::move(own)));
  }
}

at::Tensor InnerLayer::rewards(const LabelledGroups& labelled) const {
  return standardised(out_of_fold(fit_heads(x_NF_, labelled, head_strengths()), x_NF_, training_), training_.groups);
}

std::vector<at::Tensor> InnerLayer::experts(const Regime& regime, std::uint64_t seed) const {
  std::map<std::string, LabelledGroups> points;
  for (const CategoryData& category : categories_) {
    for (auto& [name, labelled] : labelled_points(store_, scores_, category, fold_, regime, seed))
      points[name].append(category.among_all(std::move(labelled)));
  }
  std::vector<at::Tensor> columns;
  for (const auto& [name, labelled] : points) {
    if (labelled.groups.size() >= kPointGroupsMin) columns.push_back(rewards(labelled));
  }
  return columns;
}

void InnerLayer::run(const Regime& regime, std::uint64_t seed, std::vector<ArmTable>& tables) {
  LabelledGroups overall;
  for (const CategoryData& category : categories_)
    overall.append(category.among_all(labelled_overall(store_, scores_, category, fold_, regime, seed)));
  if (overall.groups.size() < 2) return;
  if (of_regime_ != regime.name() || regime.draws_points()) experts_ = experts(regime, seed), of_regime_ = regime.name();
  if (experts_.empty()) return;
  std::vector<at::Tensor> columns = experts_;
  std::vector<double> target(columns.size(), 1.0 / static_cast<double>(columns.size()));
  columns.push_back(rewards(overall)), target.push_back(0);
  const at::Tensor reward_N = fit_stack(columns, target, overall).reward_N;
  for (std::size_t c = 0; c < tables.size(); ++c)
    tables[c].add("inner", reward_N.narrow(0, categories_[c].first_row, categories_[c].row_count));
}

}  // namespace dmoerm::evidence
