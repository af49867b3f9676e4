#include "run/stage_router.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>

#include <algorithm>

#include "base/log.h"
#include "run/task_parts.h"
#include "run/task_settings.h"

namespace dmoerm::run {

namespace {

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
  at::Tensor pooled_ND = moe::pool_prompts(*context.pretrained(), prompts, context.config().router.pooling,
                                           context.config().compute.micro_batch_tokens, under_way);
  kept.keep({{"states", pooled_ND}}, pooled_ND.size(0));
  return pooled_ND;
}

}  // namespace

nlohmann::json router_settings(const config::RunConfig& config) { return {{"router", result_settings(config.router)}}; }

void run_router(RunContext& context, const TaskIdentity& identity, comm::Communicator& ranks) {
  if (ranks.rank() != 0) return;  // fitting a linear head is not worth sharing
  const auto prompts_of = [&](train::Subset subset) { return train::groups_of(context.store(), -1, subset, context.config()); };
  const auto labels_of = [&](const std::vector<std::int64_t>& groups) {
    std::vector<std::int32_t> labels;
    for (const std::int64_t index : groups) labels.push_back(context.store().group(index).category);
    return labels;
  };
  const auto train = prompts_of(train::Subset::train), validation = prompts_of(train::Subset::validation);
  const plan::TaskId task = plan::TaskId::router();
  const auto folder = context.directory().task(task);
  TaskParts parts(folder, identity.key());
  const at::Tensor validation_MD = pooled_prompts(context, validation, parts, "validation"),
                   train_ND = pooled_prompts(context, train, parts, "train");
  const moe::KeptFits kept_fits(parts);
  const auto router = moe::CategoryRouter::fit(context.store().categories(), train_ND, labels_of(train), validation_MD,
                                               labels_of(validation), context.config().router);
  std::int64_t right = 0;
  for (std::size_t i = 0; i < validation.size(); ++i)
    right += router.route(validation_MD[static_cast<std::int64_t>(i)]).likeliest == context.store().group(validation[i]).category;
  const double accuracy = validation.empty() ? 0.0 : static_cast<double>(right) / static_cast<double>(validation.size());
  spdlog::info("[router] prompts={} validation_accuracy={:.4f} temperature={:.3f}", train.size(), accuracy, router.temperature());
  router.save(folder);
  context.directory().complete(
      task, identity, {"router.json", "router.safetensors"},
      {{"validation_accuracy", accuracy}, {"temperature", router.temperature()}, {"prompts", train.size()}});
  TaskParts::remove(folder);
}

}  // namespace dmoerm::run
