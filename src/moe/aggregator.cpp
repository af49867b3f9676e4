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
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>

#include "base/counted.h"
#include "base/error.h"
#include "base/log.h"
#include "base/rng.h"
#include "moe/adam_fit.h"
#include "nn/safetensors.h"

namespace dmoerm::moe {
namespace {

constexpr std::int64_t kRowsAtOnce = 4096;  // bounds the memory of a forward pass over many responses

at::Tensor longs(const std::vector<std::int64_t>& values) {
  return at::tensor(at::ArrayRef<std::int64_t>(values), at::TensorOptions().dtype(at::kLong));
}

/// The responses of some groups, and the winners and losers of their pairs as places among these responses. Each pair has a
/// weight, so that every group counts once.
struct PairRows {
  at::Tensor rows;  ///< Rows of the features
  at::Tensor winner, loser, weight, margin;
};

/// @param chosen  indices into `some`; one may be chosen twice
PairRows pair_rows(const std::vector<ExpertFeatures::Group>& groups, const std::vector<std::size_t>& some,
                   const std::vector<std::size_t>& chosen) {
  std::vector<std::int64_t> rows, winner, loser;
  std::vector<float> weight, margin;
  std::map<std::size_t, std::int64_t> first;  // place of the first response of each chosen group
  for (const std::size_t i : chosen) first[i] = 0;
  for (auto& [i, place] : first) {
    place = std::ssize(rows);
    for (std::int64_t r = 0; r < groups[some[i]].count; ++r) rows.push_back(groups[some[i]].first + r);
  }
  for (const std::size_t i : chosen) {
    const ExpertFeatures::Group& group = groups[some[i]];
    for (const preference::Preference& p : group.pairs) {
      winner.push_back(first[i] + p.winner), loser.push_back(first[i] + p.loser);
      weight.push_back(1.0F / static_cast<float>(group.pairs.size() * chosen.size())), margin.push_back(p.margin);
    }
  }
  return {longs(rows), longs(winner), longs(loser), at::tensor(at::ArrayRef<float>(weight)),
          at::tensor(at::ArrayRef<float>(margin))};
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

std::vector<std::size_t> all_of(const std::vector<ExpertFeatures::Group>& groups) {
  std::vector<std::size_t> all(groups.size());
  std::iota(all.begin(), all.end(), std::size_t{0});
  return all;
}

/// Some groups of the features, with their rows.
struct SomeGroups {
  std::vector<ExpertFeatures::Group> groups;  ///< Their responses are numbered from the first of them
  std::vector<std::int64_t> rows;
};

SomeGroups select_groups(const std::vector<ExpertFeatures::Group>& groups, const std::vector<std::size_t>& some) {
  SomeGroups selected;
  for (const std::size_t g : some) {
    selected.groups.push_back(groups[g]);
    selected.groups.back().first = std::ssize(selected.rows);
    for (std::int64_t i = 0; i < groups[g].count; ++i) selected.rows.push_back(groups[g].first + i);
  }
  return selected;
}

}  // namespace

Aggregator Aggregator::mean(const ExpertFeatures& train) { return mean(train, all_of(train.groups)); }

Aggregator Aggregator::fit(const std::string& kind, const ExpertFeatures& train, const ExpertFeatures& validation,
                           const config::AggregatorConfig& config, std::uint64_t seed, at::Device device) {
  return fit(kind, train, all_of(train.groups), validation, config, seed, device);
}

Aggregator Aggregator::mean(const ExpertFeatures& features, const std::vector<std::size_t>& some) {
  const SomeGroups selected = select_groups(features.groups, some);
  const at::Tensor rewards_NK = features.rewards_NK.index_select(0, longs(selected.rows));
  const std::int64_t n = rewards_NK.size(0), k = rewards_NK.size(1);
  Aggregator aggregator;
  aggregator.kind_ = "mean";
  aggregator.reward_mean_K = n > 0 ? rewards_NK.mean(0) : at::zeros({k});
  aggregator.reward_std_K = spread_within_groups(rewards_NK, selected.groups).clamp_min(1e-6);
  aggregator.weight_K = at::full({k}, 1.0 / static_cast<double>(k));
  return aggregator;
}

Aggregator Aggregator::fit(const std::string& kind, const ExpertFeatures& train, const std::vector<std::size_t>& some,
                           const ExpertFeatures& validation, const config::AggregatorConfig& config, std::uint64_t seed,
                           at::Device device) {
  Aggregator a = mean(train, some);
  a.kind_ = kind;
  const std::int64_t k = train.states_NKH.size(1), h = train.states_NKH.size(2);
  std::vector<at::Tensor> parameters;
  if (kind == "linear") {
    parameters = {a.weight_K};
  } else if (kind == "mlp") {
    Rng rng(seed, "aggregator");
    parameters = {uniform({h, k * h}, 1.0 / std::sqrt(static_cast<double>(k * h)), rng), at::zeros({h}), at::full({1}, 0.25),
                  uniform({h}, 1.0 / std::sqrt(static_cast<double>(h)), rng), at::zeros({1})};
    for (at::Tensor& parameter : parameters) parameter = parameter.to(device);
  } else {
    throw ConfigError("unknown-aggregator", fmt::format("aggregator.kind {} is unknown (mlp, linear)", kind));
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
  std::vector<std::size_t> usable;  // indices into `some`
  for (std::size_t i = 0; i < some.size(); ++i) {
    if (!train.groups[some[i]].pairs.empty()) usable.push_back(i);
  }
  const bool validated = !groups_with_pairs(validation.groups).empty();
  if (usable.empty())
    throw DataError("no-overall-preference", "the aggregator has no group with an overall preference to learn from");
  FitOptions options{config.lr,        config.weight_decay,     config.max_grad_norm,
                     config.steps_max, config.eval_every_steps, config.patience};
  if (!validated) {
    options.steps_max = std::max<std::int64_t>(1, config.steps_max / 10);
    options.keep_last = true;
    spdlog::warn("[aggregator] no validation pairs: {} is trained for {} without early stopping", kind,
                 counted(options.steps_max, "step"));
  }
  const auto batch =
      static_cast<std::size_t>(std::min<std::int64_t>(config.groups_per_step, static_cast<std::int64_t>(usable.size())));
  std::vector<std::size_t> order;
  std::size_t pass = 0;  // the number of the pass that `order` belongs to
  const PairRows validation_pairs = pair_rows(validation.groups, all_of(validation.groups), groups_with_pairs(validation.groups));
  adopt();
  const auto loss = [&](std::int64_t step) {
    std::vector<std::size_t> chosen;
    for (std::size_t at = static_cast<std::size_t>(step) * batch; chosen.size() < batch; ++at) {
      if (order.empty() || at / usable.size() != pass) {
        pass = at / usable.size();
        order = usable;
        Rng(seed, "aggregator/order/" + kind, pass).shuffle(order);
      }
      chosen.push_back(order[at % usable.size()]);
    }
    const PairRows pairs = pair_rows(train.groups, some, chosen);
    return pair_loss(a.forward_rows(train, pairs.rows), pairs);
  };
  const auto figure = [&]() -> std::pair<double, double> {
    const at::Tensor rewards_N = a.rewards(validation);
    return {pair_accuracy(rewards_N, validation.groups),
            -pair_loss(rewards_N.index_select(0, validation_pairs.rows), validation_pairs).item<double>()};
  };
  const FitResult result = fit_adamw(parameters, options, loss, figure);
  adopt();
  a.validation_accuracy_ = validated ? result.best : 0.5;
  a.best_step_ = result.best_step;
  return a;
}

HeldOut held_out(const std::string& kind, const ExpertFeatures& train, const ExpertFeatures& validation,
                 const config::AggregatorConfig& config, std::uint64_t seed, at::Device device) {
  std::vector<std::vector<std::size_t>> prompts = groups_of_prompts(train.groups);
  const std::size_t folds = std::min(kFolds, prompts.size());
  HeldOut result;
  if (folds < 2) return result;
  Rng(seed, "aggregator/folds").shuffle(prompts);
  for (std::size_t fold = 0; fold < folds; ++fold) {
    std::vector<std::size_t> seen, unseen;
    for (std::size_t i = 0; i < prompts.size(); ++i)
      std::ranges::copy(prompts[i], std::back_inserter(i % folds == fold ? unseen : seen));
    const Aggregator aggregator =
        kind == "mean" ? Aggregator::mean(train, seen) : Aggregator::fit(kind, train, seen, validation, config, seed, device);
    const SomeGroups rest = select_groups(train.groups, unseen);
    const at::Tensor rewards_N = aggregator.rewards(train, rest.rows);
    std::size_t g = 0;
    for (std::size_t i = fold; i < prompts.size(); i += folds) {
      result.right.push_back(0), result.pairs.push_back(0);
      for (std::size_t end = g + prompts[i].size(); g < end; ++g) {
        const auto pairs = static_cast<double>(rest.groups[g].pairs.size());
        result.pairs.back() += pairs;
        result.right.back() += pairs * pair_accuracy(rewards_N, {rest.groups[g]});
      }
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
  return n > 1 && sum > std::sqrt(n / (n - 1) * std::max(0.0, squares - sum * sum / n));  // rounding may leave less than nothing
}

at::Tensor Aggregator::rewards(const ExpertFeatures& features) const {
  std::vector<std::int64_t> rows(static_cast<std::size_t>(features.rewards_NK.size(0)));
  std::iota(rows.begin(), rows.end(), std::int64_t{0});
  return rewards(features, rows);
}

at::Tensor Aggregator::rewards(const ExpertFeatures& features, const std::vector<std::int64_t>& rows) const {
  const at::Tensor all = longs(rows);
  at::Tensor rewards_N = at::zeros({all.numel()});
  for (std::int64_t begin = 0; begin < all.numel(); begin += kRowsAtOnce) {
    const std::int64_t count = std::min(kRowsAtOnce, all.numel() - begin);
    rewards_N.narrow(0, begin, count).copy_(forward_rows(features, all.narrow(0, begin, count)).detach());
  }
  return rewards_N;
}

at::Tensor Aggregator::forward_rows(const ExpertFeatures& features, const at::Tensor& rows) const {
  if (kind_ != "mlp") return forward({}, features.rewards_NK.index_select(0, rows));
  return forward(features.states_NKH.index_select(0, rows).to(w1_HF.device()), {}).cpu();
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
    throw DataError("unknown-aggregator", fmt::format("{}: aggregator kind {} is unknown", file.string(), a.kind_));
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
