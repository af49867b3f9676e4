// Phase 3: the experts' states, computed once, and what is fitted on them.
#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "base/error.h"
#include "base/log.h"
#include "run/tasks.h"

namespace dmoerm::run {
namespace {

constexpr const char* kParts[] = {"train", "validation"};

/// Labelled groups of the cached features, in their order. @param part  of kParts
std::vector<train::LabelledGroup> feature_groups(const RunContext& context, std::int32_t category, const std::string& part) {
  return train::labelled_groups(context.store(), category, part == "train" ? train::Part::aggregator : train::Part::validation,
                                preference::kOverall, context.config());
}

/// What run_features() cached.
moe::ExpertFeatures load_features(RunContext& context, std::int32_t category, const std::string& part) {
  const auto reader = nn::SafetensorsReader::open(context.directory().task("features/" + context.category(category).name) /
                                                  (part + ".safetensors"));
  moe::ExpertFeatures features{reader.load("states"), reader.load("rewards"), {}};
  std::int64_t first = 0;
  for (const train::LabelledGroup& g : feature_groups(context, category, part)) {
    features.groups.push_back({first, static_cast<std::int64_t>(g.responses.size()), g.pairs});
    first += features.groups.back().count;
  }
  DMOERM_CHECK(first == features.rewards_NK.size(0), "cached features belong to these groups");
  return features;
}

}  // namespace

nlohmann::json score_statistics(const at::Tensor& rewards_N) {
  const at::Tensor wide = rewards_N.to(at::kDouble);
  return {{"mean", wide.numel() > 0 ? wide.mean().item<double>() : 0.0},
          {"std", wide.numel() > 1 ? wide.std().item<double>() : 1.0},
          {"count", wide.numel()}};
}

void run_features(RunContext& context, const std::string& task, std::int32_t category, const TaskIdentity& identity,
                  comm::Communicator& group) {
  std::vector<std::string> files;
  for (const std::string part : kParts) {
    const moe::ExpertFeatures features = expert_features(context, category, feature_groups(context, category, part), group);
    if (group.rank() != 0) continue;
    std::filesystem::create_directories(context.directory().task(task));
    files.push_back(part + ".safetensors");
    nn::save_safetensors(context.directory().task(task) / files.back(),
                         {{"states", features.states_NKH}, {"rewards", features.rewards_NK}});
  }
  if (group.rank() == 0) context.directory().complete(task, identity, files, nlohmann::json::object());
}

void run_aggregator(RunContext& context, const std::string& task, std::int32_t category, const TaskIdentity& identity,
                    comm::Communicator& group) {
  if (group.rank() != 0) return;
  const moe::ExpertFeatures train = load_features(context, category, "train"),
                            validation = load_features(context, category, "validation");
  const config::AggregatorConfig& config = context.config().aggregator;
  const auto directory = context.directory().task(task);
  std::filesystem::create_directories(directory);
  nlohmann::json metrics;
  std::map<std::string, moe::HeldOut> held_out;
  const auto keep = [&](const moe::Aggregator& aggregator) {
    held_out[aggregator.kind()] = moe::held_out(aggregator.kind(), train, validation, config, context.config().seed);
    aggregator.save(directory / (aggregator.kind() + ".safetensors"));
    metrics[aggregator.kind()] = {
        {"validation_accuracy",
         moe::pair_accuracy(aggregator.forward(validation.states_NKH, validation.rewards_NK), validation.groups)},
        {"held_out_accuracy", held_out[aggregator.kind()].accuracy()},
        {"best_step", aggregator.best_step()},
        {"score", score_statistics(aggregator.forward(train.states_NKH, train.rewards_NK))}};
  };
  keep(moe::Aggregator::mean(train));
  for (const char* kind : {"linear", "mlp"}) keep(moe::Aggregator::fit(kind, train, validation, config, context.config().seed));
  std::string chosen = config::word(config.kind);
  if (config.kind == config::AggregatorKind::best) {  // the smallest one, unless groups that none has seen speak for a larger
                                                      // one; never the test split
    chosen = "mean";
    for (const char* larger : {"linear", "mlp"}) {
      if (moe::clearly_better(held_out[larger], held_out[chosen])) chosen = larger;
    }
  }
  metrics["chosen"] = chosen;
  metrics["groups"] = train.groups.size();
  spdlog::info("[aggregator] category={} held out: mean={:.4f} linear={:.4f} mlp={:.4f} chosen={}",
               context.category(category).name, held_out["mean"].accuracy(), held_out["linear"].accuracy(),
               held_out["mlp"].accuracy(), chosen);
  context.directory().complete(task, identity, {"mean.safetensors", "linear.safetensors", "mlp.safetensors"}, metrics);
}

}  // namespace dmoerm::run
