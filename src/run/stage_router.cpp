#include "run/stage_router.h"

#include <algorithm>

#include "base/log.h"
#include "run/task_settings.h"

namespace dmoerm::run {

nlohmann::json router_settings(const config::RunConfig& config) { return {{"router", result_settings(config.router)}}; }

at::Tensor pooled_prompts(RunContext& context, const std::vector<std::int64_t>& groups) {
  std::vector<std::vector<std::int32_t>> prompts;
  for (const std::int64_t index : groups) {
    const auto ids = context.store().group(index).prompt;
    prompts.emplace_back(ids.begin(), ids.end());
  }
  return moe::pool_prompts(*context.pretrained(), prompts, context.config().router.pooling,
                           context.config().compute.micro_batch_tokens);
}

void run_router(RunContext& context, const TaskIdentity& identity, comm::Communicator& ranks) {
  if (ranks.rank() != 0) return;  // fitting a linear head is not worth sharing
  const auto prompts_of = [&](train::Subset subset) { return train::groups_of(context.store(), -1, subset, context.config()); };
  const auto labels_of = [&](const std::vector<std::int64_t>& groups) {
    std::vector<std::int32_t> labels;
    for (const std::int64_t index : groups) labels.push_back(context.store().group(index).category);
    return labels;
  };
  const auto train = prompts_of(train::Subset::train), validation = prompts_of(train::Subset::validation);
  const at::Tensor validation_MD = pooled_prompts(context, validation);
  const auto router = moe::CategoryRouter::fit(context.store().categories(), pooled_prompts(context, train), labels_of(train),
                                               validation_MD, labels_of(validation), context.config().router);
  std::int64_t right = 0;
  for (std::size_t i = 0; i < validation.size(); ++i)
    right += router.route(validation_MD[static_cast<std::int64_t>(i)]).likeliest == context.store().group(validation[i]).category;
  const double accuracy = validation.empty() ? 0.0 : static_cast<double>(right) / static_cast<double>(validation.size());
  spdlog::info("[router] prompts={} validation_accuracy={:.4f} temperature={:.3f}", train.size(), accuracy, router.temperature());
  router.save(context.directory().task("router"));
  context.directory().complete(
      "router", identity, {"router.json", "router.safetensors"},
      {{"validation_accuracy", accuracy}, {"temperature", router.temperature()}, {"prompts", train.size()}});
}

}  // namespace dmoerm::run
