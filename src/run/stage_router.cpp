#include "run/stage_router.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>

#include <map>

#include "base/log.h"
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

}  // namespace

nlohmann::json router_settings(const config::RunConfig& config) {
  nlohmann::json router = result_settings(config.router);
  router["calibration_rule"] = kCalibrationRuleVersion;
  return {{"router", router}};
}

void run_router(RunContext& context, const TaskIdentity& identity, comm::Communicator& ranks) {
  if (ranks.rank() != 0) return;  // fitting a linear head is not worth sharing
  const auto prompts_of = [&](train::Subset subset) { return train::groups_of(context.store(), -1, subset, context.config()); };
  const auto train = prompts_of(train::Subset::train), validation = prompts_of(train::Subset::validation);
  const plan::TaskId task = plan::TaskId::router();
  const auto folder = context.directory().task(task);
  TaskParts parts(folder, identity.key());
  const moe::RoutedPrompts known = routed_prompts(context, validation, parts, "validation"),
                           fitted = routed_prompts(context, train, parts, "train");
  const moe::KeptFits kept_fits(parts);
  const auto router = moe::CategoryRouter::fit(context.store().categories(), fitted, known, context.config().router,
                                               moe::reading_of(context.config().router, context.pretrained()->spec()));
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
