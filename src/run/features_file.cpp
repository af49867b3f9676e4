#include "run/features_file.h"

#include <ATen/ops/tensor.h>
#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "base/log.h"
#include "run/pooled_prompts.h"
#include "run/rows_writer.h"

namespace dmoerm::run {
namespace {

namespace fs = std::filesystem;
constexpr std::size_t kResponses = 0, kPrompts = 1;  // counters of rows

std::int64_t responses_of(const std::vector<train::LabelledGroup>& groups) {
  std::int64_t count = 0;
  for (const train::LabelledGroup& group : groups) count += std::ssize(group.responses);
  return count;
}

/// Tensors of the file. @param width  of the states
std::vector<nn::TensorLayout> layout_of(const RatedGroups& rated, std::int64_t experts, std::int64_t width, bool with_base) {
  const std::int64_t n = responses_of(rated.groups), g = std::ssize(rated.groups);
  std::vector<nn::TensorLayout> tensors = {{"states", at::kFloat, {n, experts, width}},
                                           {"rewards", at::kFloat, {n, experts}},
                                           {"lengths", at::kFloat, {n}},
                                           {"prompts", at::kFloat, {g, width}}};
  if (with_base) tensors.push_back({"base", at::kFloat, {n}});
  return tensors;
}

at::Tensor lengths_of(const data::TokenStore& store, const std::vector<train::LabelledGroup>& groups) {
  std::vector<float> lengths;
  for (const train::LabelledGroup& g : groups) {
    const data::TokenGroup group = store.group(g.group);
    for (const std::int32_t r : g.responses) {
      const std::size_t own = group.responses[static_cast<std::size_t>(r)].size(), all = group.prefix.size() + own;
      lengths.push_back(moe::log_length(std::max(own, all - std::min(all, group.prompt.size()))));
    }
  }
  return at::tensor(at::ArrayRef<float>(lengths));
}

void tell(const RunContext& context, std::int64_t done, std::int64_t all, const std::string& what) {
  if (context.progress().doing) context.progress().doing(fmt::format("{} of {} {}", done, all, what));
}

/// Compute states and rewards, and write those that are not written yet. Collective. @param file  on the first rank
void write_responses(RunContext& context, const RatedGroups& rated, const std::vector<nn::RewardModel>& models,
                     std::int64_t experts, std::optional<RowsWriter>& file, comm::Communicator& ranks) {
  const std::int64_t all = responses_of(rated.groups);
  const std::string what = "responses of " + rated.what;
  train::StatesUnderWay under_way;
  if (file) under_way.known = file->written(kResponses);
  under_way.take = [&](const train::GroupStates& some, std::int64_t first) {
    file->rows().write("states", first, some.states_NKD.narrow(1, 0, experts));
    file->rows().write("rewards", first, some.rewards_NK.narrow(1, 0, experts));
    if (std::ssize(models) > experts) file->rows().write("base", first, some.rewards_NK.select(1, experts));
    file->advance(kResponses, first + some.rewards_NK.size(0));
    tell(context, file->written(kResponses), all, what);
  };
  under_way.leave = [&](std::int64_t done) {
    file->note();
    leave_after(rated.task, what, done, file->noted(kResponses));
  };
  context.scorer(ranks).stream_states(models, rated.groups, under_way);
}

/// Compute the states of the prompts, and write those that are not written yet. Collective. @param file  on the first rank
void write_prompts(const RunContext& context, const RatedGroups& rated, const nn::Backbone& backbone,
                   std::optional<RowsWriter>& file, comm::Communicator& ranks) {
  PooledPrompts prompts{{}, "prompts", kPrompts, rated.task, "prompts of " + rated.what};
  for (const train::LabelledGroup& group : rated.groups) prompts.groups.push_back(group.group);
  write_pooled_prompts(context, prompts, backbone, moe::kGateReading, file ? &*file : nullptr, ranks);
}

}  // namespace

void write_features(RunContext& context, const RatedGroups& rated, const fs::path& file, TaskParts& parts,
                    comm::Communicator& ranks) {
  std::vector<nn::RewardModel> models = context.load_experts(rated.category, rated.fold);
  const auto experts = std::ssize(models);
  const bool with_base = context.config().aggregator.base_reward;
  if (with_base) models.push_back(context.load_model(plan::TaskId::base(context.category(rated.category).name, rated.fold)));
  const nn::Backbone& backbone = models.front().backbone();
  std::optional<RowsWriter> writer;
  if (ranks.rank() == 0) {
    writer.emplace(file, layout_of(rated, experts, backbone.spec().width, with_base), 2, parts);
    if (writer->written(kResponses) > 0)
      spdlog::info("[features] task={} part={} goes on after {} responses", rated.task, file.stem().string(),
                   writer->written(kResponses));
  }
  write_responses(context, rated, models, experts, writer, ranks);
  write_prompts(context, rated, backbone, writer, ranks);
  if (!writer) return;
  writer->rows().write("lengths", 0, lengths_of(context.store(), rated.groups));
  writer->publish();
}

moe::ExpertFeatures read_features(const fs::path& file) {
  const auto reader = nn::SafetensorsReader::open(file);
  moe::ExpertFeatures features{moe::LazyRows::of_file(reader, "states"), reader.load("rewards")};
  if (reader.has("base")) features.base_N = reader.load("base");
  features.length_N = reader.load("lengths"), features.prompts_GH = moe::LazyRows::of_file(reader, "prompts");
  return features;
}

}  // namespace dmoerm::run
