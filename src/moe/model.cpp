#include "moe/model.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>

#include "base/error.h"
#include "nn/transfer.h"

namespace dmoerm::moe {
namespace {

constexpr double kSpreadMin = 1e-6;  // of a category whose rewards do not differ within a group

std::vector<Score> without_rewards(const PackedTexts& packed) {
  std::vector<Score> scores;
  for (const std::int64_t cut : packed.cut_tokens()) scores.push_back({.cut_tokens = cut});
  return scores;
}

/// The heads of models, [M, H], on their way to the host, where they are when states that are asked for later are there.
at::Tensor begin_heads(std::span<const nn::RewardModel* const> models) {
  std::vector<at::Tensor> heads;
  for (const nn::RewardModel* model : models) heads.push_back(model->head().w_D);
  return nn::begin_download(at::stack(heads));
}

/// Rewards [N] of states [N, H] on the CPU, each summed by itself: a library's product may sum in an order that depends on N.
/// @param w_H  a head on the host
at::Tensor rewards_by_row(const at::Tensor& w_H, const at::Tensor& states_NH) {
  const at::Tensor rows_NH = states_NH.contiguous();
  at::Tensor rewards_N = at::empty({rows_NH.size(0)});
  const auto width = static_cast<std::size_t>(rows_NH.size(1));
  const float *w = w_H.const_data_ptr<float>(), *row = rows_NH.const_data_ptr<float>();
  for (std::int64_t i = 0; i < rewards_N.size(0); ++i, row += width)
    rewards_N.data_ptr<float>()[i] = static_cast<float>(std::inner_product(row, row + width, w, 0.0));
  return rewards_N;
}

std::int64_t first_layer(const nn::RewardModel& model) {
  return model.adapter() == nullptr ? 0 : static_cast<std::int64_t>(model.adapter()->first_layer());
}

/// Tokens of a response without the prompt that stands before it.
std::size_t own_tokens(const TokenTexts& texts, std::size_t response) {
  const std::vector<std::int32_t>& ids = texts.responses[response];
  return ids.size() > texts.prompt.size() ? ids.size() - texts.prompt.size() : 0;
}

/// States of several texts under several adapters over one backbone, [N, M, H] each. Adapters that begin at the same layer share
/// a pass, so that the layers below it are computed once for all of them.
std::vector<at::Tensor> states_of(std::span<const PackedTexts> texts, const std::vector<const nn::RewardModel*>& models) {
  std::map<std::int64_t, std::vector<std::size_t>> by_layer;
  for (std::size_t m = 0; m < models.size(); ++m) by_layer[first_layer(*models[m])].push_back(m);
  std::vector<at::Tensor> all(texts.size());
  for (const auto& [layer, which] : by_layer) {
    std::vector<const nn::LoraAdapter*> adapters;
    for (const std::size_t m : which) adapters.push_back(models[m]->adapter());
    std::vector<at::Tensor> states = PackedTexts::states(texts, adapters);
    if (by_layer.size() == 1) return states;
    for (std::size_t t = 0; t < texts.size(); ++t) {
      if (!all[t].defined()) all[t] = at::empty({states[t].size(0), std::ssize(models), states[t].size(2)});
      for (std::size_t i = 0; i < which.size(); ++i)
        all[t].select(1, static_cast<std::int64_t>(which[i])).copy_(states[t].select(1, static_cast<std::int64_t>(i)));
    }
  }
  return all;
}

/// Rewards [N, M] of states [N, M, H], each column by its own head.
at::Tensor rewards_by_head(const at::Tensor& heads_MH, const at::Tensor& states_NMH) {
  at::Tensor rewards_NM = at::empty({states_NMH.size(0), heads_MH.size(0)});
  for (std::int64_t m = 0; m < heads_MH.size(0); ++m)
    rewards_NM.select(1, m).copy_(rewards_by_row(heads_MH.select(0, m), states_NMH.select(1, m)));
  return rewards_NM;
}

/// What an aggregator may read of each of several prompts, and the rewards of `others`, which share the experts' pass.
/// @param prompts_GH  the prompts' states, which become part of the features; may be undefined
std::vector<ExpertsAndOthers> features_of(const Category& category, std::span<const TokenTexts* const> texts,
                                          std::span<const PackedTexts> packed, bool with_base, const at::Tensor& prompts_GH,
                                          std::span<const nn::RewardModel* const> others = {}) {
  std::vector<const nn::RewardModel*> models;
  for (const nn::RewardModel& expert : category.experts) models.push_back(&expert);
  const auto k = std::ssize(models);
  if (with_base) models.push_back(&category.base);
  models.insert(models.end(), others.begin(), others.end());
  const at::Tensor heads_MH = begin_heads(models);
  const std::vector<at::Tensor> states = states_of(packed, models);
  std::vector<ExpertsAndOthers> all;
  for (std::size_t t = 0; t < texts.size(); ++t) {
    const at::Tensor rewards_NM = rewards_by_head(heads_MH, states[t]);
    ExpertFeatures features{states[t].narrow(1, 0, k), rewards_NM.narrow(1, 0, k).contiguous()};
    if (with_base) features.base_N = rewards_NM.select(1, k).contiguous();
    features.length_N = at::empty({rewards_NM.size(0)});
    for (std::size_t i = 0; i < texts[t]->responses.size(); ++i)
      features.length_N.data_ptr<float>()[i] = log_length(own_tokens(*texts[t], i));
    if (prompts_GH.defined()) features.prompts_GH = prompts_GH.narrow(0, static_cast<std::int64_t>(t), 1);
    const auto first_other = std::ssize(models) - std::ssize(others);
    all.push_back({std::move(features), rewards_NM.narrow(1, first_other, std::ssize(others)).contiguous()});
  }
  return all;
}

/// Mix the rewards of a second category into those of the first.
void mix(const Category& first, std::vector<Score>& scores, const Category& second, const std::vector<Score>& others,
         double share) {
  const double scale = share * (at_scale_of(first.stats, 1, second.stats) - at_scale_of(first.stats, 0, second.stats));
  for (std::size_t i = 0; i < scores.size(); ++i) {
    scores[i].second = share * at_scale_of(first.stats, others[i].reward, second.stats);
    scores[i].reward = (1 - share) * scores[i].reward + *scores[i].second;
    for (double& part : scores[i].contributions) part *= 1 - share;
    scores[i].second_contributions = others[i].contributions;
    for (double& part : scores[i].second_contributions) part *= scale;
  }
}

/// The rows of a matrix on the CPU as plain numbers: a tensor's elements one by one cost more than what is computed of them.
class RowsOfNumbers {
 public:
  /// @param all_NR  undefined: its rows are empty
  explicit RowsOfNumbers(const at::Tensor& all_NR) {
    if (all_NR.defined()) all_NR_ = all_NR.to(at::kDouble).contiguous();
  }
  [[nodiscard]] std::span<const double> row(std::size_t number) const {
    if (!all_NR_.defined()) return {};
    const auto columns = static_cast<std::size_t>(all_NR_.size(1));
    return {all_NR_.const_data_ptr<double>() + number * columns, columns};
  }

 private:
  at::Tensor all_NR_;
};

/// Write the results of a category into scores that hold nothing yet.
void fill_scores(const Category& category, const ExpertFeatures& features, const at::Tensor& final_N,
                 std::vector<Score>& scores) {
  const Aggregator& aggregator = category.aggregator;
  const RowsOfNumbers rewards(final_N.unsqueeze(1)), standard(aggregator.standardised(features)),
      parts(aggregator.contributions(features)), read(aggregator.reads_base() ? features.all_rewards() : features.rewards_NK);
  for (std::size_t i = 0; i < scores.size(); ++i) {
    const std::span<const double> own = standard.row(i), said = read.row(i), added = parts.row(i);
    scores[i].reward = rewards.row(i).front();
    for (std::size_t e = 0; e < category.points.size(); ++e) scores[i].points[category.points[e]] = own[e];
    if (aggregator.reads_base()) scores[i].base = own.back();
    scores[i].expert_rewards.assign(said.begin(), said.end());
    scores[i].contributions.assign(added.begin(), added.end());
  }
}

}  // namespace

ScoreStats stats_of(const nlohmann::json& score) { return {score.at("mean"), score.at("std"), score.at("count")}; }

double at_scale_of(const ScoreStats& other, double reward, const ScoreStats& own) {
  return other.mean + other.std * (reward - own.mean) / std::max(own.std, kSpreadMin);
}

at::Tensor rewards_of(const nn::RewardModel& model, const TokenTexts& texts, const ScoringLimits& limits) {
  const at::Tensor w_H = nn::begin_download(model.head().w_D);
  return rewards_by_row(w_H, PackedTexts(texts, model.backbone(), limits).states({model.adapter()}).select(1, 0));
}

Route Model::route(const std::vector<std::int32_t>& prompt) const {
  return router.route(pool_prompts(*backbone, {routed_prompt(prompt, limits)}, router.reading(), limits.batch_tokens)[0]);
}

ExpertsAndOthers Model::experts(const Category& category, const TokenTexts& texts,
                                std::span<const nn::RewardModel* const> others) const {
  const PackedTexts packed(texts, category.backbone(), limits);
  const TokenTexts* const one = &texts;
  const at::Tensor prompt_1H = prompt_states(category.backbone(), {routed_prompt(texts.prompt, limits)}, limits);
  return std::move(features_of(category, {&one, 1}, {&packed, 1}, category.has_base(), prompt_1H, others)[0]);
}

at::Tensor Model::aggregate(const Category& category, const ExpertFeatures& features) const {
  at::Tensor rewards_N = at::empty({features.rewards_NK.size(0)});
  const at::Tensor first = at::zeros({1}, at::kLong);
  for (std::int64_t i = 0; i < rewards_N.size(0); ++i)  // one by one, so that none depends on the others in its last bits
    rewards_N.narrow(0, i, 1).copy_(category.aggregator.forward(features.responses(i, 1), first));
  return rewards_N;
}

GroupScore Model::score(const TokenTexts& texts, const std::string& name) const {
  const ScoreCall call{&texts, name};
  return score({&call, 1})[0];
}

std::vector<GroupScore> Model::score(std::span<const ScoreCall> calls) const {
  std::vector<std::vector<std::int32_t>> prompts;
  for (const ScoreCall& call : calls) prompts.push_back(routed_prompt(call.texts->prompt, limits));
  const at::Tensor pooled_ND = pool_prompts(*backbone, prompts, router.reading(), limits.batch_tokens);
  struct Asked {
    std::size_t call;
    bool second;
  };
  std::vector<GroupScore> results(calls.size());
  std::map<std::string, std::vector<Asked>> by_category;
  const auto name_of = [&](std::int32_t number) { return router.categories()[static_cast<std::size_t>(number)]; };
  for (std::size_t c = 0; c < calls.size(); ++c) {
    GroupScore& result = results[c];
    result.route = router.route(pooled_ND[static_cast<std::int64_t>(c)]);
    result.category = calls[c].category;
    if (!result.category.empty())
      result.route.second = -1, result.route.second_share = 0;
    else if (result.route.category >= 0)
      result.category = name_of(result.route.category);
    by_category[result.category].push_back({c, false});
    if (result.route.second >= 0) by_category[name_of(result.route.second)].push_back({c, true});
  }
  std::vector<std::vector<Score>> seconds(calls.size());
  for (const auto& [name, asked] : by_category) {
    std::vector<const TokenTexts*> texts;
    std::vector<at::Tensor> pooled;
    for (const Asked& a : asked) {
      texts.push_back(calls[a.call].texts);
      pooled.push_back(pooled_ND[static_cast<std::int64_t>(a.call)]);
    }
    std::vector<std::vector<Score>> scores = scores_in(name, texts, at::stack(pooled));
    for (std::size_t i = 0; i < asked.size(); ++i)
      (asked[i].second ? seconds[asked[i].call] : results[asked[i].call].responses) = std::move(scores[i]);
  }
  for (std::size_t c = 0; c < calls.size(); ++c) {
    const Route& route = results[c].route;
    if (route.second >= 0)
      mix(category(results[c].category), results[c].responses, category(name_of(route.second)), seconds[c], route.second_share);
  }
  return results;
}

std::vector<Score> Model::scores_in(const std::string& name, const TokenTexts& texts) const {
  const TokenTexts* const one = &texts;
  return scores_in(name, std::span{&one, 1})[0];
}

std::vector<std::vector<Score>> Model::scores_in(const std::string& name, std::span<const TokenTexts* const> texts) const {
  return scores_in(name, texts, {});
}

at::Tensor Model::states_for_gate(const Category& category, std::span<const TokenTexts* const> texts,
                                  const at::Tensor& routed_GD) const {
  const PromptReading& reading = router.reading();
  const bool same = reading.pooling == config::Pooling::mean && reading.layers == 0 && &category.backbone() == backbone.get();
  if (same && routed_GD.defined()) return routed_GD;
  std::vector<std::vector<std::int32_t>> prompts;
  for (const TokenTexts* own : texts) prompts.push_back(routed_prompt(own->prompt, limits));
  return prompt_states(category.backbone(), prompts, limits);
}

std::vector<std::vector<Score>> Model::scores_in(const std::string& name, std::span<const TokenTexts* const> texts,
                                                 const at::Tensor& routed_GD) const {
  const Category* chosen = name.empty() ? nullptr : &category(name);
  std::vector<PackedTexts> packed;
  packed.reserve(texts.size());
  for (const TokenTexts* own : texts)
    packed.emplace_back(*own, chosen == nullptr ? fallback.backbone() : chosen->backbone(), limits);
  std::vector<std::vector<Score>> all;
  for (const PackedTexts& own : packed) all.push_back(without_rewards(own));
  if (chosen == nullptr) {
    const at::Tensor w_H = nn::begin_download(fallback.head().w_D);
    const std::vector<at::Tensor> states = PackedTexts::states(packed, {fallback.adapter()});
    for (std::size_t t = 0; t < all.size(); ++t) {
      const at::Tensor rewards_N = rewards_by_row(w_H, states[t].select(1, 0));
      for (std::size_t i = 0; i < all[t].size(); ++i) all[t][i].reward = rewards_N.const_data_ptr<float>()[i];
    }
    return all;
  }
  const Aggregator& aggregator = chosen->aggregator;
  const at::Tensor prompts_GH = aggregator.reads_prompt() ? states_for_gate(*chosen, texts, routed_GD) : at::Tensor();
  const std::vector<ExpertsAndOthers> said = features_of(*chosen, texts, packed, aggregator.reads_base(), prompts_GH);
  for (std::size_t t = 0; t < all.size(); ++t) fill_scores(*chosen, said[t].experts, aggregate(*chosen, said[t].experts), all[t]);
  return all;
}

const Category& Model::category(const std::string& name) const {
  std::string names;
  for (const Category& category : categories) {
    if (category.name == name) return category;
    names += (names.empty() ? "" : ", ") + category.name;
  }
  throw DataError("unknown-category", fmt::format("category \"{}\" is unknown; the model has: {}", name, names));
}

const ScoreStats& Model::stats(const std::string& name) const { return name.empty() ? fallback_stats : category(name).stats; }

at::Tensor prompt_states(const nn::Backbone& backbone, const std::vector<std::vector<std::int32_t>>& prompts,
                         const ScoringLimits& limits) {
  return pool_prompts(backbone, prompts, kGateReading, limits.batch_tokens);
}

float log_length(std::size_t tokens) { return std::log1p(static_cast<float>(tokens)); }

Model assemble(const ModelFiles& files, const nn::BackboneSource& source, const ScoringLimits& limits) {
  Model model;
  model.backbone = source.shared();
  model.limits = limits;
  model.router = CategoryRouter::load(files.router);
  for (const ModelFiles::CategoryFiles& c : files.categories) {
    nn::RewardModel trained;  // of phase 1
    if (!c.base.empty()) trained = nn::RewardModel::load(c.base, source);
    const std::shared_ptr<nn::Backbone> base = c.base.empty() ? model.backbone : trained.shared_backbone();
    Category category{c.name, c.points, {}, Aggregator::load(c.aggregator), c.stats};
    if (!c.base_reward.empty())
      category.base =
          c.base_reward == c.base ? trained : nn::RewardModel::load(c.base_reward, {[&] { return base; }, source.own});
    if (category.aggregator.reads_base() && !category.has_base())
      throw DataError("base-reward-missing",
                      fmt::format("{}: the aggregator of category {} reads its base's reward, but there is no model of phase 1 "
                                  "beside it",
                                  c.aggregator.string(), c.name));
    for (const auto& directory : c.experts)
      category.experts.push_back(nn::RewardModel::load(directory, {[&] { return base; }, source.own}));
    model.categories.push_back(std::move(category));
  }
  if (!files.fallback.empty()) model.fallback = nn::RewardModel::load(files.fallback, source);
  model.fallback_stats = files.fallback_stats;
  return model;
}

}  // namespace dmoerm::moe
