#include "moe/category_router.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mv.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "base/json_problem.h"
#include "moe/adam_fit.h"
#include "nn/safetensors.h"
#include "nn/transfer.h"

namespace dmoerm::moe {
namespace {

constexpr const char* kTensorFile = "router.safetensors";
constexpr const char* kSettingsFile = "router.json";

at::Tensor label_tensor(const std::vector<std::int32_t>& labels) {
  return at::tensor(at::ArrayRef<std::int32_t>(labels), at::TensorOptions().dtype(at::kInt)).to(at::kLong);
}

/// The temperature in [1/20, 20] that minimises the cross-entropy of logits / temperature: golden-section search on its
/// logarithm. One of M + 1 answers counts as wrong, spread over the categories: no number of right answers makes the router sure.
double best_temperature(const at::Tensor& logits_MC, const at::Tensor& labels_M) {
  const at::Tensor wide = logits_MC.to(at::kDouble);
  const auto rows = static_cast<double>(wide.size(0));
  const auto loss = [&](double log_t) {
    return at::cross_entropy_loss(wide / std::exp(log_t), labels_M, {}, at::Reduction::Mean, -100, 1 / (rows + 1)).item<double>();
  };
  const double ratio = (std::sqrt(5.0) - 1) / 2;
  double low = -std::log(20.0), high = std::log(20.0);
  for (int i = 0; i < 60; ++i) {
    const double a = high - ratio * (high - low), b = low + ratio * (high - low);
    (loss(a) < loss(b) ? high : low) = loss(a) < loss(b) ? b : a;
  }
  return std::exp(0.5 * (low + high));
}

}  // namespace

CategoryRouter CategoryRouter::fit(std::vector<std::string> categories, const RoutedPrompts& train,
                                   const RoutedPrompts& validation, const config::RouterConfig& config,
                                   const PromptReading& reading) {
  CategoryRouter router;
  router.categories_ = std::move(categories);
  router.reading_ = reading;
  router.confidence_min_ = config.confidence_min;
  const std::int64_t d = train.states_ND.size(1), c = static_cast<std::int64_t>(router.categories_.size());
  router.mean_D = train.states_ND.mean(0);
  router.std_D = train.states_ND.size(0) > 1 ? train.states_ND.std(0).clamp_min(1e-6) : at::ones({d});
  const auto standard = [&](const at::Tensor& x) { return (x - router.mean_D) / router.std_D; };
  const at::Tensor x = standard(train.states_ND), y = label_tensor(train.labels);
  const bool validated = !validation.labels.empty();
  const at::Tensor vx = validated ? standard(validation.states_ND) : x, vy = validated ? label_tensor(validation.labels) : y;
  std::vector<at::Tensor> parameters = {at::zeros({c, d}), at::zeros({c})};  // the loss is convex, so zeros are a good start
  const auto logits = [&](const at::Tensor& features) { return at::addmm(parameters[1], features, parameters[0].t()); };
  const FitOptions options{config.lr, config.weight_decay, 0.0, config.steps_max, 10, 20};
  fit_adamw(
      parameters, options, [&](std::int64_t) { return at::cross_entropy_loss(logits(x), y); },
      [&]() -> std::pair<double, double> {
        return {-at::cross_entropy_loss(logits(vx), vy).item<double>(), 0.0};
      });
  router.w_CD = parameters[0];
  router.b_C = parameters[1];
  if (validated) router.temperature_ = best_temperature(logits(vx).detach(), vy);
  if (config.keep_share < 1) {
    router.ood_ =
        OodDetector::fit({x, train.labels, train.numbers}, {vx, validation.labels, validation.numbers}, c, config.keep_share);
  }
  return router;
}

Route CategoryRouter::route(const at::Tensor& pooled_D) const {
  const at::Tensor x = (pooled_D.cpu().to(at::kFloat) - mean_D) / std_D;
  const at::Tensor p = at::softmax((at::mv(w_CD, x) + b_C).to(at::kDouble) / temperature_, 0);
  Route route;
  route.probabilities.assign(p.const_data_ptr<double>(), p.const_data_ptr<double>() + p.numel());
  const auto top = std::ranges::max_element(route.probabilities);
  route.likeliest = static_cast<std::int32_t>(top - route.probabilities.begin());
  route.confidence = *top;
  route.distance = ood_.distance(x);
  route.category = route.confidence >= confidence_min_ && route.distance <= 1 ? route.likeliest : -1;
  return route;
}

void CategoryRouter::save(const std::filesystem::path& directory) const {
  std::filesystem::create_directories(directory);
  nn::NamedTensors tensors = {{"mean", mean_D}, {"std", std_D}, {"weight", w_CD}, {"bias", b_C}};
  for (auto& tensor : ood_.tensors()) tensors.push_back(std::move(tensor));
  nn::save_safetensors(directory / kTensorFile, tensors);
  write_json_atomically(directory / kSettingsFile, {{"categories", categories_},
                                                    {"pooling", config::word(reading_.pooling)},
                                                    {"layers", reading_.layers},
                                                    {"temperature", temperature_},
                                                    {"confidence_min", confidence_min_}});
}

CategoryRouter CategoryRouter::load(const std::filesystem::path& directory) {
  const nlohmann::json settings = read_json(directory / kSettingsFile);
  const auto reader = nn::SafetensorsReader::open(directory / kTensorFile);
  CategoryRouter router;
  try {
    router.categories_ = settings.at("categories").get<std::vector<std::string>>();
    const std::string pooling = settings.at("pooling");
    const auto known = config::from_word<config::Pooling>(pooling);
    if (!known)
      throw DataError("router-damaged", fmt::format("{}: pooling \"{}\" is not one of {}", (directory / kSettingsFile).string(),
                                                    pooling, fmt::join(config::words<config::Pooling>(), ", ")));
    router.reading_ = {*known, settings.value("layers", std::int64_t{0})};
    router.temperature_ = settings.at("temperature");
    router.confidence_min_ = settings.at("confidence_min");
  } catch (const nlohmann::json::exception& e) {
    throw DataError("router-damaged", fmt::format("{}: {}", (directory / kSettingsFile).string(), json_mismatch(e)));
  }
  router.mean_D = reader.load("mean");
  router.std_D = reader.load("std");
  router.w_CD = reader.load("weight");
  router.b_C = reader.load("bias");
  if (reader.has("ood_means")) router.ood_ = OodDetector::of([&](const char* name) { return reader.load(name); });
  if (router.w_CD.size(0) != static_cast<std::int64_t>(router.categories_.size())) {
    throw DataError("router-damaged", fmt::format("{}: {} categories, but weights for {}", directory.string(),
                                                  router.categories_.size(), router.w_CD.size(0)));
  }
  return router;
}

PromptReading reading_of(const config::RouterConfig& config, const nn::BackboneSpec& spec) {
  const auto layers = static_cast<std::int64_t>(std::ceil(config.depth * static_cast<double>(spec.layers)));
  return {config.pooling, layers >= spec.layers ? 0 : std::max<std::int64_t>(layers, 1)};
}

at::Tensor pool_prompts(const nn::Backbone& backbone, const std::vector<std::vector<std::int32_t>>& prompts,
                        const PromptReading& reading, std::int64_t batch_tokens, const PoolingUnderWay& under_way) {
  at::Tensor pooled_ND = at::empty({static_cast<std::int64_t>(prompts.size()), backbone.spec().width});
  const std::int64_t done = under_way.done_ND.defined() ? under_way.done_ND.size(0) : 0;
  if (done > 0) pooled_ND.narrow(0, 0, done).copy_(under_way.done_ND);
  for (auto begin = static_cast<std::size_t>(done); begin < prompts.size();) {
    data::PackedBatch batch;
    std::size_t end = begin;
    do {
      data::append_sequence(batch, prompts[end], backbone.packing());
      ++end;
    } while (end < prompts.size() && batch.tokens() + static_cast<std::int64_t>(prompts[end].size()) <= batch_tokens);
    const at::Tensor states_TD =
        reading.layers == 0 ? backbone.hidden(batch) : backbone.trunk(batch, static_cast<std::size_t>(reading.layers));
    const at::Tensor hidden_TD = nn::download(states_TD).to(at::kFloat);
    for (std::size_t i = begin; i < end; ++i) {
      const data::Span own = batch.responses[i - begin].own;
      const at::Tensor rows = hidden_TD.narrow(0, own.begin, own.length);
      pooled_ND.select(0, static_cast<std::int64_t>(i))
          .copy_(reading.pooling == config::Pooling::last ? rows[own.length - 1] : rows.mean(0));
    }
    begin = end;
    if (under_way.look) under_way.look(pooled_ND.narrow(0, 0, static_cast<std::int64_t>(end)));
  }
  return pooled_ND;
}

}  // namespace dmoerm::moe
