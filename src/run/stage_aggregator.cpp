#include "run/stage_aggregator.h"

#include <ATen/core/Tensor.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "base/log.h"
#include "moe/held_out.h"
#include "run/stage_features.h"
#include "run/task_parts.h"
#include "run/task_settings.h"

namespace dmoerm::run {
namespace {

using nlohmann::json;

/// Versions of the rules by which the kind `best` chooses and by which rewards are standardised. A changed rule gets a new word,
/// so that aggregators of the old rule are made again.
constexpr const char* kChoiceRuleVersion = "prompts held out, by a standard error; stack or mean, gate, mlp";
constexpr const char* kSpreadRuleVersion = "within groups";

/// Kinds that are held out, so that they can be compared. The paper's MLP stops by the validation split and is large: it is
/// fitted once.
constexpr const char* kHeldOut[] = {"mean", "stack", "gate", "mlp", "wco", "uwo"};

/// Weights of the experts in the order of the points, and of the base as the last one where it is read.
json weights_of(const moe::Aggregator& aggregator) {
  json weights = json::array();
  for (std::int64_t r = 0; r < aggregator.weight_K.size(0); ++r) weights.push_back(aggregator.weight_K[r].item<double>());
  return weights;
}

}  // namespace

nlohmann::json aggregator_settings(const config::RunConfig& config) {
  nlohmann::json fit = result_settings(config.aggregator);
  fit["choice_rule"] = kChoiceRuleVersion;
  fit["spread_rule"] = kSpreadRuleVersion;
  return {{"aggregator", fit}};
}

nlohmann::json score_statistics(const at::Tensor& rewards_N, const std::vector<moe::ExpertFeatures::Group>& groups) {
  return {{"mean", rewards_N.numel() > 0 ? rewards_N.to(at::kDouble).mean().item<double>() : 0.0},
          {"std", moe::spread_within_groups(rewards_N.unsqueeze(1), groups).item<double>()},
          {"count", rewards_N.numel()}};
}

void run_aggregator(RunContext& context, const plan::TaskId& task, const TaskIdentity& identity, comm::Communicator& ranks) {
  if (ranks.rank() != 0) return;
  const std::int32_t category = context.category_index(task);
  const moe::ExpertFeatures train = load_features(context, category, "train"),
                            validation = load_features(context, category, "validation");
  const config::AggregatorConfig& config = context.config().aggregator;
  const auto directory = context.directory().task(task);
  std::filesystem::create_directories(directory);
  TaskParts parts(directory, identity.key());
  const moe::KeptFits kept_fits(parts);
  nlohmann::json metrics;
  std::map<std::string, moe::HeldOut> held_out;
  const std::uint64_t seed = context.config().seed;
  std::vector<std::string> files;
  std::string held_out_text;
  for (const std::string& kind : config::words<config::AggregatorKind>()) {
    if (kind == config::word(config::AggregatorKind::best)) continue;
    const moe::Aggregator aggregator = moe::fit_aggregator(kind, train, validation, config, seed, context.device());
    files.push_back(kind + ".safetensors");
    aggregator.save(directory / files.back());
    json& figures = metrics[kind];
    figures = {{"validation_accuracy", moe::pair_accuracy(aggregator.rewards(validation), validation.groups)},
               {"best_step", aggregator.best_step()},
               {"score", score_statistics(aggregator.rewards(train), train.groups)}};
    if (std::ranges::find(kHeldOut, kind) != std::end(kHeldOut)) {
      held_out[kind] = moe::held_out(kind, train, validation, config, seed, context.device());
      figures["held_out_accuracy"] = held_out[kind].accuracy();
      held_out_text += fmt::format(" {}={:.4f}", kind, held_out[kind].accuracy());
    }
    if (kind == "uwo") figures["variance_price"] = aggregator.variance_price;
    if (aggregator.weight_K.defined()) figures["weights"] = weights_of(aggregator);
  }
  std::string chosen = config::word(config.kind);
  if (config.kind == config::AggregatorKind::best) chosen = moe::best_kind(held_out);
  metrics["chosen"] = chosen;
  metrics["groups"] = train.groups.size();
  if (held_out["mean"].pairs.empty())
    spdlog::warn("[aggregator] category={}: fewer than two prompts have overall preferences to choose an aggregator by",
                 task.category);
  spdlog::info("[aggregator] category={} chosen={} held out:{}", task.category, chosen, held_out_text);
  context.directory().complete(task, identity, files, metrics);
  TaskParts::remove(directory);
}

}  // namespace dmoerm::run
