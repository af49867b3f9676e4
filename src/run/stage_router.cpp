#include "run/stage_router.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>

#include <map>

#include "base/log.h"
#include "moe/reward_targets.h"
#include "run/prompt_ratings.h"
#include "run/task_parts.h"
#include "run/task_settings.h"

namespace dmoerm::run {

namespace {

/// Version of the rule by which the temperature is found. A changed rule gets a new word, so that routers are fitted again.
constexpr const char* kCalibrationRuleVersion = "one more error, one distance for all categories";

/// Pooled base states of the groups' prompts, one row each. What is done is kept in pieces.
at::Tensor pooled_prompts(RunContext& context, const std::vector<std::int64_t>& groups, TaskParts& parts,
                          const std::string& name) {
  std::vector<std::vector<std::int32_t>> prompts;
  for (const std::int64_t index : groups) {
    const auto ids = context.store().group(index).prompt;
    prompts.emplace_back(ids.begin(), ids.end());
  }
  KeptRows kept(parts, name);
  const at::Tensor all_ND = at::empty({std::ssize(prompts), context.pretrained()->spec().width});
  std::vector<at::Tensor> pieces;
  while (const auto piece = kept.next({{"states", all_ND}})) pieces.push_back(piece->front().second);
  moe::PoolingUnderWay under_way;
  if (!pieces.empty()) under_way.done_ND = at::cat(pieces);
  under_way.look = [&](const at::Tensor& so_far_ND) {
    if (parts.stop()) kept.leave({{"states", so_far_ND}}, so_far_ND.size(0), "router", "prompts");
    if (parts.due()) kept.keep({{"states", so_far_ND}}, so_far_ND.size(0));
  };
  at::Tensor pooled_ND =
      moe::pool_prompts(*context.pretrained(), prompts, moe::reading_of(context.config().router, context.pretrained()->spec()),
                        context.config().compute.micro_batch_tokens, under_way);
  kept.keep({{"states", pooled_ND}}, pooled_ND.size(0));
  return pooled_ND;
}

/// The prompts of some groups with their states.
moe::RoutedPrompts routed_prompts(RunContext& context, const std::vector<std::int64_t>& groups, TaskParts& parts,
                                  const std::string& name) {
  moe::RoutedPrompts prompts{pooled_prompts(context, groups, parts, name), {}, {}};
  std::map<std::uint64_t, std::int64_t> known;
  for (const std::int64_t index : groups) {
    const data::TokenGroup group = context.store().group(index);
    prompts.labels.push_back(group.category);
    prompts.numbers.push_back(known.try_emplace(group.session_key, std::ssize(known)).first->second);
  }
  return prompts;
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
  if (ranks.rank() != 0) return;  // fitting a linear head is not worth sharing
  const auto prompts_of = [&](train::Subset subset) { return train::groups_of(context.store(), -1, subset, context.config()); };
  const auto train = prompts_of(train::Subset::train), validation = prompts_of(train::Subset::validation);
  moe::RoutedPrompts known = routed_prompts(context, validation, parts, "validation"),
                     fitted = routed_prompts(context, train, parts, "train");
  if (by_rewards) aim_at_rewards(context, ratings, train, fitted, validation, known);
  const moe::KeptFits kept_fits(parts);
  const auto router =
      moe::CategoryRouter::fit(context.store().categories(), fitted, known, context.config().router,
                               moe::reading_of(context.config().router, context.pretrained()->spec()), context.config().seed);
  std::int64_t right = 0;
  for (std::size_t i = 0; i < validation.size(); ++i)
    right += router.route(known.states_ND[static_cast<std::int64_t>(i)]).likeliest == known.labels[i];
  const double accuracy = validation.empty() ? 0.0 : static_cast<double>(right) / static_cast<double>(validation.size());
  spdlog::info("[router] prompts={} validation_accuracy={:.4f} temperature={:.3f}", train.size(), accuracy, router.temperature());
  router.save(folder);
  context.directory().complete(
      task, identity, {"router.json", "router.safetensors"},
      {{"validation_accuracy", accuracy}, {"temperature", router.temperature()}, {"prompts", train.size()}});
  TaskParts::remove(folder);
}

}  // namespace dmoerm::run
