#include "evidence/category_arms.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/argmax.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cdist.h>
#include <ATen/ops/linalg_svd.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/mv.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros_like.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>

#include "base/hash.h"
#include "base/rng.h"
#include "evidence/stack.h"
#include "moe/aggregator_fit.h"
#include "moe/clusters.h"
#include "moe/fit_groups.h"
#include "moe/held_out.h"
#include "nn/pairwise_loss.h"

namespace dmoerm::evidence {
namespace {

constexpr std::size_t kPairsMax = 12;       // of a group, in training: nine responses have 36
constexpr int kEnsemble = 5;                // about as many members as a category has experts
constexpr double kVarianceWeight = 0.5;     // of standardised members
constexpr std::int64_t kEarlyFolds = 3;     // of kInnerFolds: about the share of phase 1
constexpr int kOverallWeights[] = {3, 10};  // of overall labels beside those of the points
constexpr std::int64_t kClusters = 4;       // of prompts
constexpr std::int64_t kDirections = 4;     // in which prompts differ

/// Points far apart: the one farthest from the mean of all, then each the farthest from those before it.
at::Tensor far_points(const at::Tensor& x_ND, std::int64_t count) {
  at::Tensor centre_CD = x_ND.mean(0, true);
  for (std::int64_t c = 0; c < count; ++c) {
    const at::Tensor farthest = at::cdist(x_ND, centre_CD).amin(1).argmax();
    const at::Tensor next_1D = x_ND.select(0, farthest.item<std::int64_t>()).unsqueeze(0);
    centre_CD = c == 0 ? next_1D : at::cat({centre_CD, next_1D});
  }
  return centre_CD;
}

/// Every n-th pair of a long list.
std::vector<preference::Preference> thinned(const std::vector<preference::Preference>& pairs) {
  if (pairs.size() <= kPairsMax) return pairs;
  std::vector<preference::Preference> some;
  for (std::size_t i = 0; i < kPairsMax; ++i) some.push_back(pairs[i * pairs.size() / kPairsMax]);
  return some;
}

}  // namespace

LabelledGroups CategoryData::training(const PairLists& pairs, std::int64_t fold) const {
  LabelledGroups labelled;
  for (std::size_t g = 0; g < groups.size(); ++g) {
    if (!trains(g, fold) || pairs[g].empty()) continue;
    labelled.groups.push_back(rows[g]);
    labelled.groups.back().pairs = thinned(pairs[g]);
    labelled.fold.push_back(inner[g]);
  }
  return labelled;
}

LabelledGroups CategoryData::among_all(LabelledGroups labelled) const {
  for (auto& group : labelled.groups) group.first += first_row, group.prompt += first_group;
  return labelled;
}

std::map<std::string, PairLists> CategoryData::taught(const Regime& regime, const StoreScores& scores, std::int64_t fold,
                                                      std::uint64_t seed) const {
  std::map<std::string, PairLists> pairs = regime.taught == Regime::Taught::ties ? tied_points : points;
  std::vector<bool> counting;
  for (std::size_t g = 0; g < groups.size(); ++g) counting.push_back(trains(g, fold));
  keep_scored(pairs, groups, counting, regime.scored, seed);
  if (regime.taught != Regime::Taught::soft) return pairs;
  for (auto& [point, lists] : pairs) lists = softened(std::move(lists), scores, groups, point, counting);
  return pairs;
}

std::vector<moe::ExpertFeatures::Group> CategoryData::tested(std::int64_t fold) const {
  std::vector<moe::ExpertFeatures::Group> found;
  for (std::size_t g = 0; g < groups.size(); ++g) {
    if (outer[g] != fold || overall[g].empty()) continue;
    found.push_back(rows[g]);
    found.back().pairs = overall[g];
  }
  return found;
}

std::vector<moe::ExpertFeatures::Group> CategoryData::tested_at_equal_length(std::int64_t fold) const {
  std::vector<moe::ExpertFeatures::Group> found;
  for (std::size_t g = 0; g < groups.size(); ++g) {
    if (outer[g] != fold || overall[g].empty()) continue;
    found.push_back(rows[g]);
    found.back().pairs = equal_length[g];
  }
  return found;
}

std::vector<std::int64_t> CategoryData::tested_groups(std::int64_t fold) const {
  std::vector<std::int64_t> found;
  for (std::size_t g = 0; g < groups.size(); ++g) {
    if (outer[g] == fold && !overall[g].empty()) found.push_back(groups[g]);
  }
  return found;
}

LabelledGroups labelled_overall(const data::TokenStore& store, const StoreScores& scores, const CategoryData& category,
                                std::int64_t fold, const Regime& regime, std::uint64_t seed) {
  PairLists pairs = noisy_overall(store, scores, category.groups, *category.config, regime, seed);
  for (std::size_t g = 0; g < pairs.size(); ++g) {
    if (!category.trains(g, fold)) pairs[g].clear();
  }
  keep_labelled(pairs, category.groups, regime.prompts, seed);
  return category.training(pairs, fold);
}

std::map<std::string, LabelledGroups> labelled_points(const data::TokenStore& store, const StoreScores& scores,
                                                      const CategoryData& category, std::int64_t fold, const Regime& regime,
                                                      std::uint64_t seed) {
  std::map<std::string, LabelledGroups> labelled;
  for (const auto& [name, pairs] : category.taught(regime, scores, fold, seed)) {
    const std::uint64_t own = mix64(seed ^ stable_hash(name));
    labelled[name] = category.training(flipped(pairs, store, category.groups, regime.point_noise, own), fold);
  }
  return labelled;
}

CategoryArms::CategoryArms(const data::TokenStore& store, const StoreScores& scores, const CategoryData& category,
                           std::int64_t fold, const at::Tensor& x_NF, const at::Tensor& prompt_GF, const at::Tensor& bag_NB)
    : store_(store), scores_(scores), category_(category), fold_(fold), x_NF_(x_NF), bag_NB_(bag_NB) {
  std::vector<std::int64_t> seen;
  for (std::size_t g = 0; g < category_.groups.size(); ++g) {
    if (!category_.trains(g, fold_)) continue;
    training_.groups.push_back(category_.rows[g]);
    training_.fold.push_back(category_.inner[g]);
    seen.push_back(static_cast<std::int64_t>(g));
  }
  if (seen.empty()) return;  // no arm will find labels
  whole_NF_ = x_NF_.clone();
  const at::Tensor usual_F = prompt_GF.index_select(0, moe::longs(seen)).mean(0);
  for (std::size_t g = 0; g < category_.rows.size(); ++g)
    whole_NF_.narrow(0, category_.rows[g].first, category_.rows[g].count)
        .add_(prompt_GF.select(0, static_cast<std::int64_t>(g)) - usual_F);
  find_topics(seen);
}

void CategoryArms::find_topics(const std::vector<std::int64_t>& seen) {
  const at::Tensor seen_GD = category_.topic_GD.index_select(0, moe::longs(seen));
  const at::Tensor centre_CD = moe::settled_centres(seen_GD, far_points(seen_GD, kClusters));
  const at::Tensor nearest_G = moe::nearest_centres(category_.topic_GD, centre_CD);
  std::vector<std::int64_t> counts;
  for (const auto& group : category_.rows) counts.push_back(group.count);
  const auto of_responses = [&](const at::Tensor& of_G) { return of_G.repeat_interleave(moe::longs(counts), 0).to(at::kDouble); };
  for (std::int64_t cluster = 0; cluster < centre_CD.size(0); ++cluster) clusters_.push_back(of_responses(nearest_G.eq(cluster)));

  const at::Tensor centred_GD = (seen_GD - seen_GD.mean(0)).to(at::kDouble);
  const at::Tensor axis_MD = std::get<2>(at::linalg_svd(centred_GD, /*full_matrices=*/false));
  const at::Tensor place_GM = at::matmul((category_.topic_GD - seen_GD.mean(0)).to(at::kDouble), axis_MD.t());
  const at::Tensor spread_M = at::matmul(centred_GD, axis_MD.t()).std(0);
  for (std::int64_t m = 0; m < std::min<std::int64_t>(kDirections, axis_MD.size(0)); ++m)
    directions_.push_back(of_responses(place_GM.select(1, m) / spread_M[m].clamp_min(1e-9)));
}

const CategoryArms::Points& CategoryArms::points_with(const Regime& regime, std::uint64_t seed) {
  const bool drawn = regime.draws_points();
  const auto key = std::make_tuple(regime.point_noise, regime.scored, regime.taught, drawn ? seed : 0);
  if (const auto found = points_.find(key); found != points_.end()) return found->second;
  Points points;
  for (const auto& [name, labelled] : labelled_points(store_, scores_, category_, fold_, regime, seed)) {
    if (labelled.groups.size() < kPointGroupsMin) {
      points.too_few[name] = labelled.groups.size();
      continue;
    }
    points.names.push_back(name);
    points.heads.push_back(fit_heads(x_NF_, labelled, head_strengths()));
    points.early_F.push_back(early_head(labelled, points.heads.back()));
    points.heap.append(labelled);
  }
  if (!points.names.empty()) points.universal = fit_heads(x_NF_, points.heap, head_strengths());
  if (drawn)  // those of another seed
    std::erase_if(points_, [](const auto& kept) { return std::get<0>(kept.first) > 0 || std::get<1>(kept.first) > 0; });
  return points_[key] = std::move(points);
}

void CategoryArms::ensemble(const LabelledGroups& labelled, const Heads& own, std::uint64_t seed, ArmTable& table) const {
  std::vector<at::Tensor> members;
  Rng rng(seed, "evidence/ensemble/" + category_.name, static_cast<std::uint64_t>(fold_));
  for (int member = 0; member < kEnsemble; ++member) {
    std::vector<std::size_t> drawn;
    for (std::size_t i = 0; i < labelled.groups.size(); ++i) drawn.push_back(rng.below(labelled.groups.size()));
    const at::Tensor head_F = moe::fit_ridge(moe::pair_differences(x_NF_, labelled.groups, drawn), {}, own.strength, own.all_F);
    members.push_back(standardised(at::mv(x_NF_.to(at::kDouble), head_F), training_.groups));
  }
  const at::Tensor member_NK = at::stack(members, 1);
  for (const moe::ExpertFeatures::Group& group : category_.rows) {  // members differ by any offset from prompt to prompt
    const at::Tensor own_NK = member_NK.narrow(0, group.first, group.count);
    own_NK.sub_(own_NK.mean(0));
  }
  table.add("ensemble_mean", member_NK.mean(1));
  table.add("ensemble_wco", std::get<0>(member_NK.min(1)));
  table.add("ensemble_uwo", member_NK.mean(1) - kVarianceWeight * member_NK.var(1));
}

at::Tensor CategoryArms::lengths() const {
  std::vector<double> tokens;
  for (const std::int64_t index : category_.groups) {
    for (const auto& response : store_.group(index).responses) tokens.push_back(static_cast<double>(response.size()));
  }
  return at::tensor(at::ArrayRef<double>(tokens), at::TensorOptions().dtype(at::kDouble));
}

void CategoryArms::shallow(const LabelledGroups& labelled, ArmTable& table) const {
  const at::Tensor length_N = lengths();
  const bool longer = moe::pair_accuracy(length_N.to(at::kFloat), labelled.groups) >= 0.5;
  table.add("length", longer ? length_N : -length_N);
  table.add("bag", at::mv(bag_NB_.to(at::kDouble), fit_heads(bag_NB_, labelled, head_strengths()).all_F));
}

nlohmann::json CategoryArms::experts(const Regime& regime, std::uint64_t seed) {
  Regime clean = regime;
  clean.point_noise = 0;
  const Points& points = points_with(clean, seed);
  nlohmann::json figures = nlohmann::json::object();
  for (const auto& [name, groups] : points.too_few) figures[name] = {{"groups", 0}, {"labelled", groups}};
  for (std::size_t p = 0; p < points.names.size(); ++p) {
    std::vector<moe::ExpertFeatures::Group> tested;
    const PairLists& pairs = category_.points.at(points.names[p]);
    for (std::size_t g = 0; g < category_.groups.size(); ++g) {
      if (category_.outer[g] != fold_ || pairs[g].empty()) continue;
      tested.push_back(category_.rows[g]);
      tested.back().pairs = pairs[g];
    }
    const auto share = [](const at::Tensor& reward_N, const std::vector<moe::ExpertFeatures::Group>& groups) {
      double sum = 0;
      for (const auto& group : groups) sum += moe::pair_accuracy(reward_N.to(at::kFloat), {group});
      return groups.empty() ? 0.5 : sum / static_cast<double>(groups.size());
    };
    const at::Tensor expert_N = rewards(points.heads[p]);
    figures[points.names[p]] = {{"groups", tested.size()},
                                {"own", share(expert_N, tested)},
                                {"universal", share(rewards(points.universal), tested)},
                                {"length", share(lengths(), tested)},
                                {"overall", share(expert_N, category_.tested(fold_))}};
  }
  return figures;
}

void CategoryArms::run(const Regime& regime, std::uint64_t seed, ArmTable& table) {
  const LabelledGroups labelled = labelled_overall(store_, scores_, category_, fold_, regime, seed);
  if (labelled.groups.size() < 2) return;
  const Points& points = points_with(regime, seed);
  const Heads own = fit_heads(x_NF_, labelled, head_strengths());
  const at::Tensor own_N = standardised(rewards(own), training_.groups);
  table.add("own", own_N);
  ensemble(labelled, own, seed, table);
  shallow(labelled, table);
  if (points.names.empty()) return;

  const LabelledGroups heap = points.heap.with(labelled, 1);
  // Overall labels choose the strength, as they choose that of the stack.
  const Heads pooled = fit_heads(x_NF_, heap, head_strengths(), &labelled);
  const at::Tensor pooled_raw_N = rewards(pooled), pooled_N = standardised(pooled_raw_N, training_.groups);
  table.add("pooled", pooled_N);
  Heads weighted = pooled;
  for (const int times : kOverallWeights) {
    Heads heads = fit_heads(x_NF_, points.heap.with(labelled, times), {3 * pooled.strength, pooled.strength, pooled.strength / 3},
                            &labelled);
    if (heads.held_out_loss < weighted.held_out_loss) weighted = std::move(heads);
  }
  table.add("pooled_weighted", rewards(weighted));
  const at::Tensor universal_raw_N = rewards(points.universal), universal_N = standardised(universal_raw_N, training_.groups);
  table.add("universal", universal_N);
  std::vector<at::Tensor> columns, alone;
  for (const Heads& heads : points.heads) {
    columns.push_back(standardised(rewards(heads), training_.groups));
    alone.push_back(standardised(out_of_fold(heads, whole_NF_, training_), training_.groups));
  }
  const std::size_t k = columns.size();
  std::vector<double> target(k, 1.0 / static_cast<double>(k));
  table.add("mean", at::stack(columns, 1).mean(1));
  const Stack linear = fit_stack(columns, target, labelled);
  const at::Tensor linear_N = standardised(linear.reward_N, training_.groups);
  table.add("linear", linear_N);
  columns.push_back(own_N), target.push_back(0);
  const Stack stack = fit_stack(columns, target, labelled);
  table.add("stack", stack.reward_N);
  std::vector<std::string> features = points.names;
  features.emplace_back("(base)");
  table.weigh("stack", features, {stack.weight_K.const_data_ptr<double>(), stack.weight_K.const_data_ptr<double>() + k + 1});
  as_chosen(columns, features, labelled, seed, table);
  without_folds(points, own, target, labelled, table);
  variants(columns, alone, target, labelled, table);
  columns.push_back(universal_N), std::ranges::fill(target, 0.0), target.push_back(1);
  table.add("stack_universal", fit_stack(columns, target, labelled).reward_N);

  // Heads of their own that start from what the points taught.
  const auto scale_of = [&](const at::Tensor& reward_N) {
    return best_scale(moe::pair_differences(reward_N.unsqueeze(1), labelled.groups));
  };
  const Heads warm = fit_heads(x_NF_, labelled, residual_strengths(), nullptr, &points.universal, scale_of(universal_raw_N));
  const at::Tensor warm_N = standardised(rewards(warm), training_.groups);
  table.add("warm", warm_N);
  const Heads residual = fit_heads(x_NF_, labelled, residual_strengths(), nullptr, &pooled, scale_of(pooled_raw_N));
  const at::Tensor residual_N = standardised(rewards(residual), training_.groups);
  table.add("residual", residual_N);

  mixtures({{"own", own_N}, {"pooled", pooled_N}, {"linear", linear_N}, {"warm", warm_N}, {"residual", residual_N}}, labelled,
           linear.loss, table);
}

at::Tensor CategoryArms::early_head(const LabelledGroups& labelled, const Heads& heads) const {
  return moe::fit_ridge(moe::pair_differences(x_NF_, labelled.of_first_folds(kEarlyFolds).groups), {}, heads.strength,
                        heads.all_F);
}

void CategoryArms::without_folds(const Points& points, const Heads& own, const std::vector<double>& target,
                                 const LabelledGroups& labelled, ArmTable& table) const {
  const at::Tensor x_NF = x_NF_.to(at::kDouble);
  std::vector<at::Tensor> seen, early;
  const auto add = [&](const at::Tensor& all_F, const at::Tensor& early_F) {
    seen.push_back(standardised(at::mv(x_NF, all_F), training_.groups));
    early.push_back(standardised(at::mv(x_NF, early_F), training_.groups));
  };
  for (std::size_t p = 0; p < points.heads.size(); ++p) add(points.heads[p].all_F, points.early_F[p]);
  add(own.all_F, early_head(labelled, own));
  table.add("stack_in_sample", fit_stack(seen, target, labelled).reward_N);
  const LabelledGroups late = labelled.of_first_folds(kEarlyFolds, /*others=*/true);
  if (late.groups.size() >= 2) table.add("stack_split", fit_stack(early, target, late).reward_N);
}

void CategoryArms::as_chosen(const std::vector<at::Tensor>& columns, const std::vector<std::string>& features,
                             const LabelledGroups& labelled, std::uint64_t seed, ArmTable& table) const {
  moe::ExpertFeatures said;
  said.rewards_NK = at::stack(at::TensorList(columns).slice(0, columns.size() - 1), 1).to(at::kFloat);
  said.base_N = columns.back().to(at::kFloat);
  said.groups = labelled.groups;
  std::map<std::string, moe::HeldOut> held_out;
  for (const char* kind : {"mean", "stack"}) held_out[kind] = moe::held_out(kind, said, {}, {}, seed);
  const std::string kind = moe::best_kind(held_out);
  const moe::Aggregator aggregator = moe::fit_aggregator(kind, said, {}, {}, seed);
  table.add("dmoerm", aggregator.rewards(said).to(at::kDouble));
  table.count("aggregator", kind);
  std::vector<double> weights(features.size(), 0);  // the mean does not read the base
  for (std::int64_t r = 0; r < aggregator.weight_K.size(0); ++r)
    weights[static_cast<std::size_t>(r)] = aggregator.weight_K[r].item<double>();
  table.weigh("dmoerm", features, weights);
}

void CategoryArms::variants(const std::vector<at::Tensor>& columns, const std::vector<at::Tensor>& alone,
                            const std::vector<double>& target, const LabelledGroups& labelled, ArmTable& table) const {
  const auto add_doubt = [&](const char* arm, const at::Tensor& expert_NK) {
    std::vector<at::Tensor> wider = columns;
    std::vector<double> towards = target;
    wider.push_back(standardised(expert_NK.std(1), training_.groups)), towards.push_back(0);
    table.add(arm, fit_stack(wider, towards, labelled).reward_N);
  };
  if (alone.size() > 1) {
    const at::Tensor expert_NK = at::stack(at::TensorList(columns).slice(0, alone.size()), 1);
    for (const moe::ExpertFeatures::Group& group : category_.rows) {  // experts differ by any offset from prompt to prompt
      const at::Tensor own_NK = expert_NK.narrow(0, group.first, group.count);
      own_NK.sub_(own_NK.mean(0));
    }
    add_doubt("stack_doubt", expert_NK);
    add_doubt("stack_doubt_alone", at::stack(alone, 1));
  }
  const auto add_varying = [&](const char* arm,
                               const std::vector<at::Tensor>& topics) {  // shared weights, and own ones of topics
    std::vector<at::Tensor> varying = columns;
    for (const at::Tensor& topic_N : topics) {
      for (const at::Tensor& column_N : columns) varying.push_back(column_N * topic_N);
    }
    std::vector<double> towards = target;
    towards.resize(varying.size());
    table.add(arm, fit_stack(varying, towards, labelled).reward_N);
  };
  add_varying("stack_clusters", clusters_);
  add_varying("stack_gate", directions_);
}

void CategoryArms::mixtures(const std::vector<std::pair<std::string, at::Tensor>>& members, const LabelledGroups& labelled,
                            double linear_loss, ArmTable& table) const {
  const auto groups = static_cast<double>(labelled.groups.size());
  std::vector<double> loss;
  for (const auto& [name, reward_N] : members)
    loss.push_back(groups * (name == "linear" ? linear_loss : fit_stack({reward_N}, {1.0}, labelled).loss));
  const auto best = static_cast<std::size_t>(std::ranges::min_element(loss) - loss.begin());
  at::Tensor equal_N = at::zeros_like(members.front().second), mixed_N = at::zeros_like(equal_N);
  for (std::size_t i = 0; i < members.size(); ++i) {
    equal_N += members[i].second;
    mixed_N += members[i].second * std::exp(loss[best] - loss[i]);
  }
  table.count("best", members[best].first);
  table.add("best", members[best].second);
  table.add("equal", equal_N);
  table.add("vote", mixed_N);
}

}  // namespace dmoerm::evidence
