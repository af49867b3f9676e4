#include "moe/category_router.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/mv.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <tuple>

#include "base/error.h"
#include "base/files.h"
#include "base/json_problem.h"
#include "moe/adam_fit.h"
#include "moe/clusters.h"
#include "nn/response_means.h"
#include "nn/safetensors.h"
#include "nn/transfer.h"

namespace dmoerm::moe {
namespace {

constexpr const char* kTensorFile = "router.safetensors";
constexpr const char* kSettingsFile = "router.json";

at::Tensor label_tensor(const std::vector<std::int32_t>& labels) {
  return at::tensor(at::ArrayRef<std::int32_t>(labels), at::TensorOptions().dtype(at::kInt)).to(at::kLong);
}

/// What a head learns of prompts: probabilities [N, C], float32, or the numbers of their categories [N].
at::Tensor targets_of(const RoutedPrompts& prompts) {
  return prompts.targets_NC.defined() ? prompts.targets_NC.to(at::kFloat) : label_tensor(prompts.labels);
}

/// The temperature in [1/20, 20] that minimises the cross-entropy of logits / temperature: golden-section search on its
/// logarithm. One of M + 1 answers counts as wrong, spread over the categories: no number of right answers makes the router sure.
/// @param targets  as targets_of() gives them
double best_temperature(const at::Tensor& logits_MC, const at::Tensor& targets) {
  const at::Tensor wide = logits_MC.to(at::kDouble), wanted = targets.is_floating_point() ? targets.to(at::kDouble) : targets;
  const auto rows = static_cast<double>(wide.size(0));
  const auto loss = [&](double log_t) {
    return at::cross_entropy_loss(wide / std::exp(log_t), wanted, {}, at::Reduction::Mean, -100, 1 / (rows + 1)).item<double>();
  };
  const double ratio = (std::sqrt(5.0) - 1) / 2;
  double low = -std::log(20.0), high = std::log(20.0);
  for (int i = 0; i < 60; ++i) {
    const double a = high - ratio * (high - low), b = low + ratio * (high - low);
    (loss(a) < loss(b) ? high : low) = loss(a) < loss(b) ? b : a;
  }
  return std::exp(0.5 * (low + high));
}

/// Mean and standard deviation of all rows, [D] each. A single row deviates by 1. The rows of a part are summed in float32, and
/// the parts in float64.
std::pair<at::Tensor, at::Tensor> mean_and_std(const LazyRows& x_ND) {
  const auto n = static_cast<double>(x_ND.size(0));
  std::vector<at::Tensor> means, stds;  // of each part
  std::vector<double> counts;
  at::Tensor sum_D = at::zeros({x_ND.size(1)}, at::kDouble), squares_D = at::zeros_like(sum_D);
  x_ND.in_parts([&](const at::Tensor& part_RD, std::int64_t) {
    counts.push_back(static_cast<double>(part_RD.size(0)));
    means.push_back(part_RD.mean(0).to(at::kDouble));
    stds.push_back(part_RD.size(0) > 1 ? part_RD.std(0).to(at::kDouble) : at::zeros_like(sum_D));
    sum_D += means.back() * counts.back();
  });
  const at::Tensor mean_D = sum_D / n;
  for (std::size_t i = 0; i < counts.size(); ++i)
    squares_D += stds[i].square() * (counts[i] - 1) + (means[i] - mean_D).square() * counts[i];
  return {mean_D.to(at::kFloat), n > 1 ? (squares_D / (n - 1)).sqrt().to(at::kFloat) : at::ones({x_ND.size(1)})};
}

/// Pooled states of a batch's prompts, [prompts, D], float32, on the host. A GPU pools by itself, so that no other state leaves
/// it.
at::Tensor pooled(const data::PackedBatch& batch, const at::Tensor& states_TD, config::Pooling pooling) {
  if (states_TD.is_cuda()) {
    std::vector<std::int32_t> ends = {0};  // the prompts fill the batch
    for (const data::PackedResponse& prompt : batch.responses) ends.push_back(prompt.own.begin + prompt.own.length);
    nn::IntegerUpload upload;
    const std::size_t list = upload.add(ends);
    upload.send(states_TD.device());
    const at::Tensor offsets = upload.list(list);
    if (pooling == config::Pooling::mean) return nn::download(nn::means_of_rows(states_TD.to(at::kFloat), offsets));
    const at::Tensor last_N = offsets.narrow(0, 1, std::ssize(batch.responses)) - 1;
    return nn::download(states_TD.index_select(0, last_N).to(at::kFloat));
  }
  const at::Tensor wide_TD = states_TD.to(at::kFloat);
  at::Tensor pooled_ND = at::empty({std::ssize(batch.responses), states_TD.size(1)});
  for (std::size_t i = 0; i < batch.responses.size(); ++i) {
    const data::Span own = batch.responses[i].own;
    const at::Tensor rows = wide_TD.narrow(0, own.begin, own.length);
    pooled_ND.select(0, static_cast<std::int64_t>(i))
        .copy_(pooling == config::Pooling::last ? rows[own.length - 1] : rows.mean(0));
  }
  return pooled_ND;
}

/// The value of a setting that is a word. @throws DataError for an unknown one
template <class E>
E known_word(const nlohmann::json& settings, const char* key, const std::filesystem::path& directory) {
  const std::string word = settings.at(key);
  if (const auto known = config::from_word<E>(word)) return *known;
  throw DataError("router-damaged", fmt::format("{}: {} \"{}\" is not one of {}", (directory / kSettingsFile).string(), key, word,
                                                fmt::join(config::words<E>(), ", ")));
}

}  // namespace

CategoryRouter CategoryRouter::fit(std::vector<std::string> categories, const RoutedPrompts& train,
                                   const RoutedPrompts& validation, const config::RouterConfig& config,
                                   const PromptReading& reading, std::uint64_t seed) {
  CategoryRouter router;
  router.categories_ = std::move(categories);
  router.reading_ = reading;
  router.confidence_min_ = config.confidence_min;
  router.mix_top_ = config.mix_top;
  router.mix_gap_ = config.mix_gap;
  std::tie(router.mean_D, router.std_D) = mean_and_std(train.states_ND);
  router.std_D = router.std_D.clamp_min(1e-6);
  const auto standard = [&](const RoutedPrompts& prompts) {
    RoutedPrompts own = prompts;
    own.states_ND = prompts.states_ND.mapped(
        [mean_D = router.mean_D, std_D = router.std_D](const at::Tensor& part_RD) { return (part_RD - mean_D) / std_D; });
    return own;
  };
  RoutedPrompts seen = standard(train), held_out = standard(validation);
  std::int64_t places = std::ssize(router.categories_);  // that distances are measured to
  if (config.kind == config::RouterKind::clusters) {
    router.fit_clusters(seen, config.clusters, seed);
    places = router.centres_KD.size(0);
    for (RoutedPrompts* prompts : {&seen, &held_out}) {
      prompts->states_ND.in_parts([&](const at::Tensor& part_RD, std::int64_t first) {
        for (std::int64_t i = 0; i < part_RD.size(0); ++i)
          prompts->labels[static_cast<std::size_t>(first + i)] = router.cluster_of(part_RD[i]);
      });
    }
  } else {
    router.fit_head(seen, held_out, config);
  }
  if (config.keep_share < 1) router.ood_ = OodDetector::fit(seen, held_out, places, config.keep_share);
  return router;
}

void CategoryRouter::fit_head(const RoutedPrompts& train, const RoutedPrompts& validation, const config::RouterConfig& config) {
  const std::int64_t d = train.states_ND.size(1), c = std::ssize(categories_);
  const bool validated = !validation.labels.empty();
  const LazyRows &x = train.states_ND, &vx = validated ? validation.states_ND : x;
  const at::Tensor y = targets_of(train), vy = validated ? targets_of(validation) : y;
  std::vector<at::Tensor> parameters = {at::zeros({c, d}), at::zeros({c})};  // the loss is convex, so zeros are a good start
  const auto loss = [&](std::int64_t) {
    at::Tensor last;  // of the parts before it the gradients are added up, and the states let go
    x.in_parts([&](const at::Tensor& part_RD, std::int64_t first) {
      if (last.defined()) last.backward();
      const at::Tensor logits_RC = at::addmm(parameters[1], part_RD, parameters[0].t());
      const double share = static_cast<double>(part_RD.size(0)) / static_cast<double>(x.size(0));
      last = at::cross_entropy_loss(logits_RC, y.narrow(0, first, part_RD.size(0))) * share;
    });
    return last;
  };
  const auto logits = [&](const LazyRows& states_ND) {
    const at::Tensor weight_CD = parameters[0].detach(), bias_C = parameters[1].detach();
    std::vector<at::Tensor> parts;
    states_ND.in_parts(
        [&](const at::Tensor& part_RD, std::int64_t) { parts.push_back(at::addmm(bias_C, part_RD, weight_CD.t())); });
    return at::cat(parts);
  };
  const FitOptions options{config.lr, config.weight_decay, 0.0, config.steps_max, 10, 20};
  fit_adamw(parameters, options, loss, [&]() -> std::pair<double, double> {
    return {-at::cross_entropy_loss(logits(vx), vy).item<double>(), 0.0};
  });
  w_CD = parameters[0];
  b_C = parameters[1];
  if (validated) temperature_ = best_temperature(logits(vx), vy);
}

void CategoryRouter::fit_clusters(const RoutedPrompts& train, std::int64_t clusters, std::uint64_t seed) {
  centres_KD = cluster_centres(train.states_ND, clusters, seed);
  const std::int64_t c = std::ssize(categories_);
  shares_KC = at::full({centres_KD.size(0), c}, 1 / static_cast<double>(c), at::kDouble);
  train.states_ND.in_parts([&](const at::Tensor& part_RD, std::int64_t first) {
    for (std::int64_t i = 0; i < part_RD.size(0); ++i)
      shares_KC[cluster_of(part_RD[i])][train.labels[static_cast<std::size_t>(first + i)]] += 1;
  });
  shares_KC /= shares_KC.sum(1, true);
}

std::int32_t CategoryRouter::cluster_of(const at::Tensor& x_D) const {
  return static_cast<std::int32_t>((centres_KD - x_D).square().sum(1).argmin().item<std::int64_t>());
}

at::Tensor CategoryRouter::probabilities(const at::Tensor& x_D) const {
  if (centres_KD.defined()) return shares_KC[cluster_of(x_D)];
  return at::softmax((at::mv(w_CD, x_D) + b_C).to(at::kDouble) / temperature_, 0);
}

Route CategoryRouter::route(const at::Tensor& pooled_D) const {
  const at::Tensor x = (pooled_D.cpu().to(at::kFloat) - mean_D) / std_D, p = probabilities(x);
  Route route;
  route.probabilities.assign(p.const_data_ptr<double>(), p.const_data_ptr<double>() + p.numel());
  const auto top = std::ranges::max_element(route.probabilities);
  route.likeliest = static_cast<std::int32_t>(top - route.probabilities.begin());
  route.confidence = *top;
  route.distance = ood_.distance(x);
  route.category = route.confidence >= confidence_min_ && route.distance <= 1 ? route.likeliest : -1;
  if (mixes() && route.category >= 0) choose_second(route);
  return route;
}

void CategoryRouter::choose_second(Route& route) const {
  double highest = 0;
  for (std::size_t c = 0; c < route.probabilities.size(); ++c) {
    const auto category = static_cast<std::int32_t>(c);
    const double p = route.probabilities[c];
    if (category == route.category || p <= highest || route.confidence - p > mix_gap_) continue;
    highest = p;
    route.second = category;
    route.second_share = p / (route.confidence + p);
  }
}

void CategoryRouter::save(const std::filesystem::path& directory) const {
  std::filesystem::create_directories(directory);
  const bool clusters = centres_KD.defined();
  nn::NamedTensors tensors = {{"mean", mean_D}, {"std", std_D}};
  if (clusters)
    tensors.insert(tensors.end(), {{"centres", centres_KD}, {"shares", shares_KC}});
  else
    tensors.insert(tensors.end(), {{"weight", w_CD}, {"bias", b_C}});
  for (auto& tensor : ood_.tensors()) tensors.push_back(std::move(tensor));
  nn::save_safetensors(directory / kTensorFile, tensors);
  nlohmann::json settings = {{"categories", categories_},
                             {"pooling", config::word(reading_.pooling)},
                             {"layers", reading_.layers},
                             {"temperature", temperature_},
                             {"confidence_min", confidence_min_}};
  if (clusters) settings["kind"] = config::word(config::RouterKind::clusters);
  if (mixes()) settings.update({{"mix_top", mix_top_}, {"mix_gap", mix_gap_}});
  write_json_atomically(directory / kSettingsFile, settings);
}

CategoryRouter CategoryRouter::load(const std::filesystem::path& directory) {
  const nlohmann::json settings = read_json(directory / kSettingsFile);
  const auto reader = nn::SafetensorsReader::open(directory / kTensorFile);
  CategoryRouter router;
  bool clusters = false;
  try {
    router.categories_ = settings.at("categories").get<std::vector<std::string>>();
    router.reading_ = {known_word<config::Pooling>(settings, "pooling", directory), settings.value("layers", std::int64_t{0})};
    if (settings.contains("kind"))  // linear heads have none
      clusters = known_word<config::RouterKind>(settings, "kind", directory) == config::RouterKind::clusters;
    router.temperature_ = settings.at("temperature");
    router.confidence_min_ = settings.at("confidence_min");
    router.mix_top_ = settings.value("mix_top", std::int64_t{1});
    router.mix_gap_ = settings.value("mix_gap", 0.0);
  } catch (const nlohmann::json::exception& e) {
    throw DataError("router-damaged", fmt::format("{}: {}", (directory / kSettingsFile).string(), json_mismatch(e)));
  }
  router.mean_D = reader.load("mean");
  router.std_D = reader.load("std");
  if (clusters)
    router.centres_KD = reader.load("centres"), router.shares_KC = reader.load("shares");
  else
    router.w_CD = reader.load("weight"), router.b_C = reader.load("bias");
  if (reader.has("ood_means")) router.ood_ = OodDetector::of([&](const char* name) { return reader.load(name); });
  const auto categories = static_cast<std::int64_t>(router.categories_.size()),
             known = clusters ? router.shares_KC.size(1) : router.w_CD.size(0);
  if (known != categories || (clusters && router.centres_KD.size(0) != router.shares_KC.size(0))) {
    throw DataError("router-damaged",
                    fmt::format("{}: {} categories, but weights for {}", directory.string(), categories, known));
  }
  return router;
}

PromptReading reading_of(const config::RouterConfig& config, const nn::BackboneSpec& spec) {
  const auto layers = static_cast<std::int64_t>(std::ceil(config.depth * static_cast<double>(spec.layers)));
  return {config.pooling, layers >= spec.layers ? 0 : std::max<std::int64_t>(layers, 1)};
}

std::int64_t end_of_batch(const TokensOf& prompt, std::int64_t first, std::int64_t count, std::int64_t batch_tokens) {
  std::int64_t end = first, tokens = 0;
  do {
    tokens += std::ssize(prompt(end));
    ++end;
  } while (end < count && tokens + std::ssize(prompt(end)) <= batch_tokens);
  return end;
}

at::Tensor pool_batch(const nn::Backbone& backbone, const TokensOf& prompt, std::int64_t first, std::int64_t end,
                      const PromptReading& reading) {
  data::PackedBatch batch;
  for (std::int64_t i = first; i < end; ++i) data::append_sequence(batch, prompt(i), backbone.packing());
  const at::Tensor states_TD =
      reading.layers == 0 ? backbone.hidden(batch) : backbone.trunk(batch, static_cast<std::size_t>(reading.layers));
  return pooled(batch, states_TD, reading.pooling);
}

at::Tensor pool_prompts(const nn::Backbone& backbone, const std::vector<std::vector<std::int32_t>>& prompts,
                        const PromptReading& reading, std::int64_t batch_tokens) {
  const std::int64_t count = std::ssize(prompts);
  at::Tensor pooled_ND = at::empty({count, backbone.spec().width});
  const auto prompt = [&](std::int64_t i) { return std::span(prompts[static_cast<std::size_t>(i)]); };
  for (std::int64_t first = 0, end = 0; first < count; first = end) {
    end = end_of_batch(prompt, first, count, batch_tokens);
    pooled_ND.narrow(0, first, end - first).copy_(pool_batch(backbone, prompt, first, end, reading));
  }
  return pooled_ND;
}

}  // namespace dmoerm::moe
