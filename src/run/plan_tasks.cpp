#include "run/plan_tasks.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "run/check_labels.h"
#include "run/imported_experts.h"
#include "run/model_shape.h"
#include "run/stage_aggregator.h"
#include "run/stage_base.h"
#include "run/stage_bundle.h"
#include "run/stage_eval.h"
#include "run/stage_expert.h"
#include "run/stage_features.h"
#include "run/stage_gaps.h"
#include "run/stage_report.h"
#include "run/stage_router.h"
#include "run/store_sizes.h"
#include "run/task_settings.h"

namespace dmoerm::run {
namespace {

using nlohmann::json;
using plan::TaskKind;

/// Version of the rule that divides the train groups between phase 1 and phase 3. A changed rule gets a new word, so that the
/// tasks of the old rule are done again.
constexpr const char* kSplitRuleVersion = "by prompt";

/// Settings that affect every task except the external ones.
json common_settings(const config::RunConfig& config, const data::TokenStore& store, const ComputedOn& on) {
  json backbone = result_settings(config.backbone);
  backbone["digest"] = on.backbone;
  json compute = result_settings(config.compute);
  compute["device"] = on.device;
  return {{"seed", config.seed},  {"data", store.digest()}, {"split_rule", kSplitRuleVersion},
          {"backbone", backbone}, {"compute", compute},     {"cluster", result_settings(config.cluster)}};
}

class Planner {
 public:
  Planner(const config::RunConfig& config, const data::TokenStore& store, const ComputedOn& on, const ExternalTasks& external,
          const Revise& revise)
      : config_(config),
        external_(external),
        revise_(revise),
        imported_(on.imported),
        common_(common_settings(config, store, on)) {}

  /// @param node  a node whose inputs were all added before
  RunTask task_of(const plan::TaskNode& node) {
    RunTask task{.id = node.id, .node = node.task, .load = node.load, .identity = identity_of(node), .run = body_of(node)};
    keys_[node.task.id] = task.identity.key();
    sources_[node.task.id] = task.identity.sources;
    return task;
  }

 private:
  using Body = decltype(RunTask::run);

  TaskIdentity identity_of(const plan::TaskNode& node) const {
    TaskIdentity identity;
    if (node.task.external) {
      if (const auto found = external_.find(node.task.id); found != external_.end()) identity = found->second;
    } else {
      identity.sources = sources_of(node);
      identity.settings = settings_of(node);
      identity.settings["task"] = node.task.id;
      if (node.id.kind == TaskKind::expert_set) identity.contents = imported_contents(category_of(node), node.id);
      if (identity.settings.contains("backbone"))
        identity.contents["backbone.digest"] = {"weights of the backbone", config_.backbone.dir};
    }
    for (const plan::TaskId& input : node.reads) identity.inputs[input.text()] = keys_.at(input.text());
    if (node.task.external && !node.reads.empty() && revise_) identity = revise_(node.task.id, std::move(identity));
    return identity;
  }

  /// Labels end the search: they say what was asked and answered, whatever the experts would choose to ask now.
  std::set<std::string> sources_of(const plan::TaskNode& node) const {
    std::set<std::string> found;
    for (const std::string& input : node.task.inputs) {
      const TaskKind kind = plan::TaskId::parse(input).value().kind;
      const bool for_labels = node.id.kind == TaskKind::expert_set && kind == TaskKind::gaps;
      if (plan::is_external(kind) || for_labels) continue;
      found.insert(input);
      found.insert(sources_.at(input).begin(), sources_.at(input).end());
    }
    return found;
  }

  json settings_of(const plan::TaskNode& node) const {
    if (node.id.kind == TaskKind::bundle) return json::object();  // nothing affects it that does not affect the report
    json settings = own_settings(node);
    settings.update(common_);
    return settings;
  }

  json own_settings(const plan::TaskNode& node) const {
    switch (node.id.kind) {
      case TaskKind::router:
        return router_settings(config_);
      case TaskKind::base:
      case TaskKind::base_of_all:
      case TaskKind::single:
      case TaskKind::category_baseline:
      case TaskKind::pooled_baseline:
        return base_settings(config_, node.id, node.steps);
      case TaskKind::expert_set:
        return settings_of_experts(node);
      case TaskKind::gaps:
        return gaps_settings(config_, category_of(node));
      case TaskKind::features:
        return features_settings(config_, category_of(node));
      case TaskKind::aggregator:
        return aggregator_settings(config_);
      case TaskKind::eval:
        return eval_settings(config_);
      case TaskKind::report:
        return report_settings(config_);
      default:
        return json::object();
    }
  }

  json settings_of_experts(const plan::TaskNode& node) const {
    json settings = expert_settings(config_, category_of(node), node.id.fold);
    settings.update(imported_settings(category_of(node), node.id, imported_));
    return settings;
  }

  Body body_of(const plan::TaskNode& node) const {
    const auto stage = [&](void (*run)(RunContext&, const plan::TaskId&, const TaskIdentity&, comm::Communicator&)) -> Body {
      return [=, id = node.id](RunContext& c, const TaskIdentity& identity, comm::Communicator& ranks) {
        run(c, id, identity, ranks);
      };
    };
    const auto phase1_model = [&](train::Subset subset, std::int64_t steps) -> Body {
      return [=, id = node.id](RunContext& c, const TaskIdentity& identity, comm::Communicator& ranks) {
        run_base(c, id, subset, steps, identity, ranks);
      };
    };
    switch (node.id.kind) {
      case TaskKind::router:
        return run_router;
      case TaskKind::base:
      // The single model is not what bases start from: it also learns from the prompts of phase 3, which they must not know.
      case TaskKind::base_of_all:
        return phase1_model(train::Subset::phase1, 0);
      case TaskKind::single:
      case TaskKind::category_baseline:
      case TaskKind::pooled_baseline:
        return phase1_model(train::Subset::train, node.steps);
      case TaskKind::expert_set:
        return stage(run_experts);
      case TaskKind::gaps:
        return stage(run_gaps);
      case TaskKind::features:
        return stage(run_features);
      case TaskKind::aggregator:
        return stage(run_aggregator);
      case TaskKind::eval:
        return stage(run_eval);
      case TaskKind::report:
        return stage(run_report);
      case TaskKind::bundle:
        return run_bundle;
      default:
        return {};
    }
  }

  const config::CategoryConfig& category_of(const plan::TaskNode& node) const {
    return *std::ranges::find(config_.categories, node.id.category, &config::CategoryConfig::name);
  }

  const config::RunConfig& config_;
  const ExternalTasks& external_;
  const Revise& revise_;
  const std::map<std::string, std::string>& imported_;  ///< See ComputedOn
  json common_;
  std::map<std::string, std::string> keys_;               ///< Keys of the tasks added so far, by id
  std::map<std::string, std::set<std::string>> sources_;  ///< The same of their sources
};

}  // namespace

void price_tasks(std::vector<RunTask>& tasks, const config::RunConfig& config, const plan::DeviceModel& device) {
  const plan::ModelShape shape = shape_of(config);
  for (RunTask& task : tasks) {
    if (!task.node.external) plan::price(task.node, task.load, shape, device, config.compute.micro_batch_tokens);
  }
}

void check_data(const config::RunConfig& config, const data::TokenStore& store) {
  std::vector<std::string> names;
  for (const config::CategoryConfig& c : config.categories) names.push_back(c.name);
  const config::TrainConfig &base = config.base, &experts = config.experts.train;
  if (base.tuning == config::Tuning::lora &&
      (base.lora_rank != experts.lora_rank || base.lora_alpha != experts.lora_alpha || base.lora_layers != experts.lora_layers)) {
    const auto said = [](const config::TrainConfig& t) {
      return fmt::format("lora_rank {}, lora_alpha {}, lora_layers {}", t.lora_rank, t.lora_alpha, t.lora_layers);
    };
    throw ConfigError("adapters-differ", fmt::format("base.tuning is lora, so experts start as copies of the base's adapter: "
                                                     "base has {}, experts.train {}; make them equal",
                                                     said(base), said(experts)));
  }
  check_labels(config, store);
  if (names != store.categories())
    throw ConfigError("categories-differ",
                      "the categories of the token store differ from those of the configuration, or in order: ingest again");
}

std::vector<RunTask> plan_tasks(const config::RunConfig& config, const data::TokenStore& store, const ComputedOn& on,
                                const ExternalTasks& external, const Revise& revise) {
  check_data(config, store);
  Planner planner(config, store, on, external, revise);
  std::vector<RunTask> tasks;
  const StoreSizes sizes(config, store);
  for (const plan::TaskNode& node : plan::GraphBuilder(config, sizes).build()) tasks.push_back(planner.task_of(node));
  return tasks;
}

}  // namespace dmoerm::run
