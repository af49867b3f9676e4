#include "run/stage_router.h"

#include <ATen/ops/empty.h>

#include <map>
#include <optional>
#include <string>
#include <utility>

#include "base/log.h"
#include "moe/reward_targets.h"
#include "run/pooled_prompts.h"
#include "run/prompt_ratings.h"
#include "run/rows_writer.h"
#include "run/task_parts.h"
#include "run/task_settings.h"

namespace dmoerm::run {

namespace {

namespace fs = std::filesystem;

/// Version of the rule by which the temperature is found. A changed rule gets a new word, so that routers are fitted again.
constexpr const char* kCalibrationRuleVersion = "one more error, one distance for all categories";

/// Some prompts of the store that the router reads.
struct RouterPrompts {
  std::string name;  ///< Name of the file of their states
  std::vector<std::int64_t> groups;
};

/// Pooled base states of the groups' prompts, one row each, in a file among the task's parts. Collective; what an earlier start
/// of the task computed is not computed again. @return nothing on other ranks than the first
moe::LazyRows pooled_prompts(RunContext& context, const RouterPrompts& some, TaskParts& parts, const fs::path& folder,
                             comm::Communicator& ranks) {
  const nn::Backbone& backbone = *context.pretrained();
  const std::int64_t count = std::ssize(some.groups), width = backbone.spec().width;
  if (count == 0) return at::empty({0, width});
  const fs::path file = folder / (some.name + ".safetensors");
  const bool first = ranks.rank() == 0;
  if (comm::largest_of(ranks, first && rows_written(file, parts) ? 1 : 0) == 0) {
    std::optional<RowsWriter> writer;
    if (first) writer.emplace(file, std::vector<nn::TensorLayout>{{"states", at::kFloat, {count, width}}}, 1, parts);
    const PooledPrompts prompts{some.groups, "states", 0, "router", "prompts of the split " + some.name};
    write_pooled_prompts(context, prompts, backbone, moe::reading_of(context.config().router, backbone.spec()),
                         writer ? &*writer : nullptr, ranks);
    if (writer) writer->publish();
  }
  return first ? moe::LazyRows::of_file(nn::SafetensorsReader::open(file), "states") : moe::LazyRows();
}

/// The prompts with their states.
moe::RoutedPrompts routed_prompts(const RunContext& context, const RouterPrompts& some, moe::LazyRows states_ND) {
  moe::RoutedPrompts prompts{std::move(states_ND), {}, {}};
  std::map<std::uint64_t, std::int64_t> known;
  for (const std::int64_t index : some.groups) {
    const data::TokenGroup group = context.store().group(index);
    prompts.labels.push_back(group.category);
    prompts.numbers.push_back(known.try_emplace(group.session_key, std::ssize(known)).first->second);
  }
  return prompts;
}

/// The share of prompts whose likeliest category is their own; 0 without prompts.
double accuracy_of(const moe::CategoryRouter& router, const moe::RoutedPrompts& prompts) {
  std::int64_t right = 0;
  prompts.states_ND.in_parts([&](const at::Tensor& part_RD, std::int64_t first) {
    for (std::int64_t i = 0; i < part_RD.size(0); ++i)
      right += router.route(part_RD[i]).likeliest == prompts.labels[static_cast<std::size_t>(first + i)];
  });
  return prompts.labels.empty() ? 0.0 : static_cast<double>(right) / static_cast<double>(prompts.labels.size());
}

/// Let the router learn which category's model orders the pairs of its prompts best, instead of their categories.
void aim_at_rewards(const RunContext& context, const PromptRatings& ratings, const std::vector<std::int64_t>& train,
                    moe::RoutedPrompts& fitted, const std::vector<std::int64_t>& validation, moe::RoutedPrompts& known) {
  const config::RouterConfig& config = context.config().router;
  const auto categories = std::ssize(context.config().categories);
  const at::Tensor train_NC = ratings_of(ratings, train, categories);
  const at::Tensor means_CC = moe::category_means(train_NC, fitted.labels);
  const auto targets = [&](const at::Tensor& own_NC, const moe::RoutedPrompts& prompts) {
    return moe::reward_targets(own_NC, prompts.labels, means_CC, config.own_share, config.reward_temperature);
  };
  fitted.targets_NC = targets(train_NC, fitted);
  known.targets_NC = targets(ratings_of(ratings, validation, categories), known);
}

}  // namespace

nlohmann::json router_settings(const config::RunConfig& config) {
  nlohmann::json router = result_settings(config.router);
  drop_defaults(router, result_settings(config::RouterConfig{}),
                {"kind", "clusters", "own_share", "reward_temperature", "mix_top", "mix_gap"});
  router["calibration_rule"] = kCalibrationRuleVersion;
  return {{"router", router}};
}

void run_router(RunContext& context, const TaskIdentity& identity, comm::Communicator& ranks) {
  const plan::TaskId task = plan::TaskId::router();
  const auto folder = context.directory().task(task);
  TaskParts parts(folder, identity.key());
  const bool by_rewards = context.config().router.kind == config::RouterKind::reward;
  const PromptRatings ratings = by_rewards ? rate_prompts(context, parts, ranks) : PromptRatings{};
  const auto prompts_of = [&](const char* name, train::Subset subset) {
    return RouterPrompts{name, train::groups_of(context.store(), -1, subset, context.config())};
  };
  const RouterPrompts train = prompts_of("train", train::Subset::train),
                      validation = prompts_of("validation", train::Subset::validation);
  const fs::path states = folder / TaskParts::kFolder / "states";
  if (ranks.rank() == 0) remove_unfinished_rows(states, parts);
  moe::LazyRows validation_ND = pooled_prompts(context, validation, parts, states, ranks),
                train_ND = pooled_prompts(context, train, parts, states, ranks);
  if (ranks.rank() != 0) return;  // fitting a linear head is not worth sharing
  moe::RoutedPrompts known = routed_prompts(context, validation, std::move(validation_ND)),
                     fitted = routed_prompts(context, train, std::move(train_ND));
  if (by_rewards) aim_at_rewards(context, ratings, train.groups, fitted, validation.groups, known);
  const moe::KeptFits kept_fits(parts);
  const auto router =
      moe::CategoryRouter::fit(context.store().categories(), fitted, known, context.config().router,
                               moe::reading_of(context.config().router, context.pretrained()->spec()), context.config().seed);
  const double accuracy = accuracy_of(router, known);
  known.states_ND = fitted.states_ND = {};  // their files are removed below
  spdlog::info("[router] prompts={} validation_accuracy={:.4f} temperature={:.3f}", train.groups.size(), accuracy,
               router.temperature());
  router.save(folder);
  context.directory().complete(
      task, identity, {"router.json", "router.safetensors"},
      {{"validation_accuracy", accuracy}, {"temperature", router.temperature()}, {"prompts", train.groups.size()}});
  TaskParts::remove(folder);
}

}  // namespace dmoerm::run
