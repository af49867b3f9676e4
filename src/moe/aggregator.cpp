#include "moe/aggregator.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/full.h>
#include <ATen/ops/mv.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/prelu.h>
#include <ATen/ops/softplus.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>

#include "base/error.h"
#include "base/log.h"
#include "base/rng.h"
#include "moe/adam_fit.h"
#include "nn/pairwise_loss.h"
#include "nn/safetensors.h"

namespace dmoerm::moe {
namespace {

/// Row numbers of the winners and losers of some groups; each pair has a weight, so that every group counts once.
struct PairRows {
  at::Tensor winner, loser, weight, margin;
};

PairRows pair_rows(const std::vector<ExpertFeatures::Group>& groups, const std::vector<std::size_t>& chosen) {
  std::vector<std::int64_t> winner, loser;
  std::vector<float> weight, margin;
  for (const std::size_t g : chosen) {
    for (const preference::Preference& p : groups[g].pairs) {
      winner.push_back(groups[g].first + p.winner), loser.push_back(groups[g].first + p.loser);
      weight.push_back(1.0F / static_cast<float>(groups[g].pairs.size() * chosen.size())), margin.push_back(p.margin);
    }
  }
  const auto longs = [](const std::vector<std::int64_t>& v) {
    return at::tensor(at::ArrayRef<std::int64_t>(v), at::TensorOptions().dtype(at::kLong));
  };
  return {longs(winner), longs(loser), at::tensor(at::ArrayRef<float>(weight)), at::tensor(at::ArrayRef<float>(margin))};
}

/// The Bradley-Terry loss, averaged over groups.
at::Tensor pair_loss(const at::Tensor& rewards_N, const PairRows& pairs) {
  const at::Tensor gap = rewards_N.index_select(0, pairs.winner) - rewards_N.index_select(0, pairs.loser) - pairs.margin;
  return (at::softplus(-gap) * pairs.weight).sum();
}

std::vector<std::size_t> groups_with_pairs(const std::vector<ExpertFeatures::Group>& groups) {
  std::vector<std::size_t> chosen;
  for (std::size_t g = 0; g < groups.size(); ++g) {
    if (!groups[g].pairs.empty()) chosen.push_back(g);
  }
  return chosen;
}

at::Tensor uniform(at::IntArrayRef shape, double bound, Rng& rng) {
  at::Tensor values = at::zeros(shape);
  float* v = values.data_ptr<float>();
  for (std::int64_t i = 0; i < values.numel(); ++i) v[i] = static_cast<float>((2 * rng.uniform() - 1) * bound);
  return values;
}

/// Some groups of the features, with their rows.
ExpertFeatures select_groups(const ExpertFeatures& all, const std::vector<std::size_t>& chosen) {
  ExpertFeatures some;
  std::vector<std::int64_t> rows;
  for (const std::size_t g : chosen) {
    some.groups.push_back(all.groups[g]);
    some.groups.back().first = static_cast<std::int64_t>(rows.size());
    for (std::int64_t i = 0; i < all.groups[g].count; ++i) rows.push_back(all.groups[g].first + i);
  }
  const at::Tensor index = at::tensor(at::ArrayRef<std::int64_t>(rows), at::TensorOptions().dtype(at::kLong));
  some.states_NKH = all.states_NKH.index_select(0, index);
  some.rewards_NK = all.rewards_NK.index_select(0, index);
  return some;
}

}  // namespace

double pair_accuracy(const at::Tensor& rewards_N, const std::vector<ExpertFeatures::Group>& groups) {
  const at::Tensor local = rewards_N.detach().contiguous();
  double right = 0, pairs = 0;
  for (const ExpertFeatures::Group& g : groups) {
    right += nn::pairs_right({local.const_data_ptr<float>() + g.first, static_cast<std::size_t>(g.count)}, g.pairs);
    pairs += static_cast<double>(g.pairs.size());
  }
  return pairs > 0 ? right / pairs : 0.5;
}

Aggregator Aggregator::mean(const ExpertFeatures& train) {
  const std::int64_t n = train.rewards_NK.size(0), k = train.rewards_NK.size(1);
  Aggregator aggregator;
  aggregator.kind_ = "mean";
  aggregator.reward_mean_K = n > 0 ? train.rewards_NK.mean(0) : at::zeros({k});
  aggregator.reward_std_K = n > 1 ? train.rewards_NK.std(0).clamp_min(1e-6) : at::ones({k});
  aggregator.weight_K = at::full({k}, 1.0 / static_cast<double>(k));
  return aggregator;
}

Aggregator Aggregator::fit(const std::string& kind, const ExpertFeatures& train, const ExpertFeatures& validation,
                           const config::AggregatorConfig& config, std::uint64_t seed) {
  Aggregator a = mean(train);
  a.kind_ = kind;
  const std::int64_t k = train.states_NKH.size(1), h = train.states_NKH.size(2);
  std::vector<at::Tensor> parameters;
  if (kind == "linear") {
    parameters = {a.weight_K};
  } else if (kind == "mlp") {
    Rng rng(seed, "aggregator");
    parameters = {uniform({h, k * h}, 1.0 / std::sqrt(static_cast<double>(k * h)), rng), at::zeros({h}), at::full({1}, 0.25),
                  uniform({h}, 1.0 / std::sqrt(static_cast<double>(h)), rng), at::zeros({1})};
  } else {
    throw ConfigError("aggregator-kind-unknown", fmt::format("aggregator.kind {} is unknown (mlp, linear)", kind));
  }
  const auto adopt = [&] {  // makes the aggregator use the parameters under training
    if (kind == "linear") {
      a.weight_K = parameters[0];
    } else {
      a.w1_HF = parameters[0];
      a.b1_H = parameters[1];
      a.slope = parameters[2];
      a.w2_H = parameters[3];
      a.b2 = parameters[4];
    }
  };
  const std::vector<std::size_t> usable = groups_with_pairs(train.groups);
  const bool validated = !groups_with_pairs(validation.groups).empty();
  if (usable.empty())
    throw DataError("no-overall-preference", "the aggregator has no group with an overall preference to learn from");
  FitOptions options{config.lr,        config.weight_decay,     config.max_grad_norm,
                     config.steps_max, config.eval_every_steps, config.patience};
  if (!validated) {
    options.steps_max = std::max<std::int64_t>(1, config.steps_max / 10);
    spdlog::warn("[aggregator] no validation pairs: {} is trained for {} steps without early stopping", kind, options.steps_max);
  }
  const auto batch =
      static_cast<std::size_t>(std::min<std::int64_t>(config.groups_per_step, static_cast<std::int64_t>(usable.size())));
  std::vector<std::size_t> order;
  std::size_t at = 0;
  std::uint64_t pass = 0;
  const PairRows validation_pairs = pair_rows(validation.groups, groups_with_pairs(validation.groups));
  adopt();
  const auto loss = [&](std::int64_t /*step*/) {
    std::vector<std::size_t> chosen;
    while (chosen.size() < batch) {
      if (at == order.size()) {
        order = usable;
        Rng(seed, "aggregator/order/" + kind, pass++).shuffle(order);
        at = 0;
      }
      chosen.push_back(order[at++]);
    }
    return pair_loss(a.forward(train.states_NKH, train.rewards_NK), pair_rows(train.groups, chosen));
  };
  double drift = 0;  // grows with each call: without validation the last step counts as the best
  const auto figure = [&]() -> std::pair<double, double> {
    if (!validated) return {drift += 1, 0};
    const at::Tensor rewards_N = a.forward(validation.states_NKH, validation.rewards_NK).detach();
    return {pair_accuracy(rewards_N, validation.groups), -pair_loss(rewards_N, validation_pairs).item<double>()};
  };
  const FitResult result = fit_adamw(parameters, options, loss, figure);
  adopt();
  a.validation_accuracy_ = validated ? result.best : 0.5;
  a.best_step_ = result.best_step;
  return a;
}

HeldOut held_out(const std::string& kind, const ExpertFeatures& train, const ExpertFeatures& validation,
                 const config::AggregatorConfig& config, std::uint64_t seed) {
  std::vector<std::size_t> usable = groups_with_pairs(train.groups);
  const std::size_t folds = std::min(kFolds, usable.size());
  HeldOut result;
  if (folds < 2) return result;
  Rng(seed, "aggregator/folds").shuffle(usable);
  for (std::size_t fold = 0; fold < folds; ++fold) {
    std::vector<std::size_t> seen, unseen;
    for (std::size_t i = 0; i < usable.size(); ++i) (i % folds == fold ? unseen : seen).push_back(usable[i]);
    const ExpertFeatures fitted = select_groups(train, seen), rest = select_groups(train, unseen);
    const Aggregator aggregator =
        kind == "mean" ? Aggregator::mean(fitted) : Aggregator::fit(kind, fitted, validation, config, seed);
    const at::Tensor rewards_N = aggregator.forward(rest.states_NKH, rest.rewards_NK);
    for (const ExpertFeatures::Group& group : rest.groups) {
      result.pairs.push_back(static_cast<double>(group.pairs.size()));
      result.right.push_back(result.pairs.back() * pair_accuracy(rewards_N, {group}));
    }
  }
  return result;
}

double HeldOut::accuracy() const {
  return pairs.empty() ? 0.5 : std::reduce(right.begin(), right.end()) / std::reduce(pairs.begin(), pairs.end());
}

bool clearly_better(const HeldOut& one, const HeldOut& other) {
  const auto n = static_cast<double>(one.right.size());
  double sum = 0, squares = 0;
  for (std::size_t g = 0; g < one.right.size(); ++g) {
    const double difference = one.right[g] - other.right[g];
    sum += difference;
    squares += difference * difference;
  }
  return n > 1 && sum > std::sqrt(n / (n - 1) * (squares - sum * sum / n));
}

at::Tensor Aggregator::forward(const at::Tensor& states_NKH, const at::Tensor& rewards_NK) const {
  if (kind_ != "mlp") return at::mv((rewards_NK - reward_mean_K) / reward_std_K, weight_K);
  const at::Tensor hidden_NH = at::addmm(b1_H, states_NKH.flatten(1), w1_HF.t());
  return at::mv(at::prelu(hidden_NH, slope), w2_H) + b2;
}

void Aggregator::save(const std::filesystem::path& file) const {
  nn::NamedTensors tensors = {{"reward_mean", reward_mean_K}, {"reward_std", reward_std_K}, {"weight", weight_K}};
  if (kind_ == "mlp") {
    for (const auto& [name, tensor] : std::initializer_list<std::pair<const char*, at::Tensor>>{
             {"w1", w1_HF}, {"b1", b1_H}, {"slope", slope}, {"w2", w2_H}, {"b2", b2}})
      tensors.emplace_back(name, tensor);
  }
  nn::save_safetensors(file, tensors,
                       {{"kind", kind_},
                        {"validation_accuracy", fmt::format("{}", validation_accuracy_)},
                        {"best_step", std::to_string(best_step_)}});
}

Aggregator Aggregator::load(const std::filesystem::path& file) {
  const auto reader = nn::SafetensorsReader::open(file);
  const auto text = [&](const char* key) {
    const auto found = reader.metadata().find(key);
    if (found == reader.metadata().end())
      throw DataError("not-an-aggregator", fmt::format("{}: metadata {} is missing: not an aggregator", file.string(), key));
    return found->second;
  };
  Aggregator a;
  a.kind_ = text("kind");
  if (a.kind_ != "mean" && a.kind_ != "linear" && a.kind_ != "mlp")
    throw DataError("aggregator-kind-unknown", fmt::format("{}: aggregator kind {} is unknown", file.string(), a.kind_));
  a.validation_accuracy_ = std::strtod(text("validation_accuracy").c_str(), nullptr);
  a.best_step_ = std::strtoll(text("best_step").c_str(), nullptr, 10);
  a.reward_mean_K = reader.load("reward_mean");
  a.reward_std_K = reader.load("reward_std");
  a.weight_K = reader.load("weight");
  if (a.kind_ != "mlp") return a;
  a.w1_HF = reader.load("w1");
  a.b1_H = reader.load("b1");
  a.slope = reader.load("slope");
  a.w2_H = reader.load("w2");
  a.b2 = reader.load("b2");
  return a;
}

}  // namespace dmoerm::moe
