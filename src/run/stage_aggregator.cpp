#include "run/stage_aggregator.h"

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "base/log.h"
#include "run/stage_features.h"
#include "run/task_parts.h"
#include "run/task_settings.h"

namespace dmoerm::run {

namespace {

/// Versions of the rules by which the kind `best` chooses and by which rewards are standardised. A changed rule gets a new word,
/// so that aggregators of the old rule are made again.
constexpr const char* kChoiceRuleVersion = "prompts held out, by a standard error";
constexpr const char* kSpreadRuleVersion = "within groups";

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
  const auto keep = [&](const moe::Aggregator& aggregator) {
    held_out[aggregator.kind()] =
        moe::held_out(aggregator.kind(), train, validation, config, context.config().seed, context.device());
    aggregator.save(directory / (aggregator.kind() + ".safetensors"));
    metrics[aggregator.kind()] = {{"validation_accuracy", moe::pair_accuracy(aggregator.rewards(validation), validation.groups)},
                                  {"held_out_accuracy", held_out[aggregator.kind()].accuracy()},
                                  {"best_step", aggregator.best_step()},
                                  {"score", score_statistics(aggregator.rewards(train), train.groups)}};
  };
  keep(moe::Aggregator::mean(train));
  for (const char* kind : {"linear", "mlp"})
    keep(moe::Aggregator::fit(kind, train, validation, config, context.config().seed, context.device()));
  std::string chosen = config::word(config.kind);
  if (config.kind == config::AggregatorKind::best) {  // the smallest kind, unless a larger one is better on held-out train groups
    chosen = "mean";
    for (const char* larger : {"linear", "mlp"}) {
      if (moe::clearly_better(held_out[larger], held_out[chosen])) chosen = larger;
    }
  }
  metrics["chosen"] = chosen;
  metrics["groups"] = train.groups.size();
  spdlog::info("[aggregator] category={} held out: mean={:.4f} linear={:.4f} mlp={:.4f} chosen={}", task.category,
               held_out["mean"].accuracy(), held_out["linear"].accuracy(), held_out["mlp"].accuracy(), chosen);
  context.directory().complete(task, identity, {"mean.safetensors", "linear.safetensors", "mlp.safetensors"}, metrics);
  TaskParts::remove(directory);
}

}  // namespace dmoerm::run
