#include "run/pooled_prompts.h"

#include <ATen/ops/from_blob.h>
#include <fmt/format.h>

#include <span>

#include "base/error.h"
#include "base/stop.h"

namespace dmoerm::run {
namespace {

/// The prompts at which the batches of a round begin, one for each rank, and the one behind the last.
std::vector<std::int64_t> round_of_batches(const moe::TokensOf& prompt, std::int64_t first, std::int64_t count,
                                           std::int64_t batch_tokens, int ranks) {
  std::vector<std::int64_t> bounds = {first};
  while (std::ssize(bounds) <= ranks && bounds.back() < count)
    bounds.push_back(moe::end_of_batch(prompt, bounds.back(), count, batch_tokens));
  return bounds;
}

/// Write the batches of a round. @param gathered  the states of each
void write_round(const RunContext& context, const PooledPrompts& prompts, const std::vector<std::int64_t>& bounds,
                 const std::vector<std::vector<std::byte>>& gathered, std::int64_t width, RowsWriter& file) {
  for (std::size_t b = 0; b + 1 < bounds.size(); ++b) {
    auto* states = const_cast<float*>(reinterpret_cast<const float*>(gathered[b].data()));
    file.rows().write(prompts.tensor, bounds[b], at::from_blob(states, {bounds[b + 1] - bounds[b], width}));
    file.advance(prompts.counter, bounds[b + 1]);
    if (context.progress().doing)
      context.progress().doing(fmt::format("{} of {} {}", bounds[b + 1], prompts.groups.size(), prompts.what));
  }
}

}  // namespace

void write_pooled_prompts(const RunContext& context, const PooledPrompts& prompts, const nn::Backbone& backbone,
                          const moe::PromptReading& reading, RowsWriter* file, comm::Communicator& ranks) {
  const std::int64_t count = std::ssize(prompts.groups), batch_tokens = context.config().compute.micro_batch_tokens;
  const moe::TokensOf prompt = [&](std::int64_t i) {
    return context.store().group(prompts.groups[static_cast<std::size_t>(i)]).prompt;
  };
  std::int64_t next = file != nullptr ? file->written(prompts.counter) : 0;
  ranks.broadcast(std::as_writable_bytes(std::span(&next, 1)), 0);
  const auto own = static_cast<std::size_t>(ranks.rank());
  while (next < count) {
    const std::vector<std::int64_t> bounds = round_of_batches(prompt, next, count, batch_tokens, ranks.size());
    const bool stops = stop_requested();
    at::Tensor pooled_BD;
    if (!stops && own + 1 < bounds.size())
      pooled_BD = moe::pool_batch(backbone, prompt, bounds[own], bounds[own + 1], reading).contiguous();
    if (comm::largest_of(ranks, stops ? 1 : 0) > 0) {
      if (file == nullptr) throw Stopped("stopped-on-request", "pooling prompts was interrupted");
      file->note();
      leave_after(prompts.task, prompts.what, next, file->noted(prompts.counter));
    }
    std::span<const float> states;
    if (pooled_BD.defined()) states = {pooled_BD.const_data_ptr<float>(), static_cast<std::size_t>(pooled_BD.numel())};
    const auto gathered = ranks.all_gather(std::as_bytes(states));
    if (file != nullptr) write_round(context, prompts, bounds, gathered, backbone.spec().width, *file);
    next = bounds.back();
  }
}

}  // namespace dmoerm::run
