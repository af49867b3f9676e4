#include "run/stage_features.h"

#include <ATen/ops/tensor.h>
#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/log.h"
#include "run/task_parts.h"
#include "run/task_settings.h"

namespace dmoerm::run {
namespace {

constexpr const char* kSplits[] = {"train", "validation"};

/// Labelled groups of the cached features, in their order. @param split  one of kSplits
std::vector<train::LabelledGroup> feature_groups(const RunContext& context, std::int32_t category, const std::string& split) {
  return train::labelled_groups(context.store(), category, split == "train" ? train::Subset::phase3 : train::Subset::validation,
                                preference::kOverall, context.config());
}

/// Compute a split's features, taking over what an earlier start kept of them. Collective; the first rank gets the tensors.
moe::ExpertFeatures features_of(RunContext& context, const plan::TaskId& task, std::int32_t category, const std::string& split,
                                TaskParts& parts, comm::Communicator& ranks) {
  KeptRows kept(parts, split);
  const auto named = [](const train::GroupStates& all) {
    return nn::NamedTensors{{"states", all.states_NKD}, {"rewards", all.rewards_NK}};
  };
  train::StatesUnderWay under_way;
  under_way.resume = [&](train::GroupStates& all) {
    std::int64_t rows = 0;
    while (const auto piece = kept.next(named(all))) {
      for (const auto& [name, tensor] : named(all)) {
        const auto found = std::ranges::find(*piece, name, &nn::NamedTensors::value_type::first);
        tensor.narrow(0, rows, found->second.size(0)).copy_(found->second);
      }
      rows += piece->front().second.size(0);
    }
    if (rows > 0) spdlog::info("[features] task={} split={} goes on after {} responses", task.text(), split, rows);
    return rows;
  };
  under_way.look = [&](const train::GroupStates& all, std::int64_t rows, bool leaving) {
    if (context.progress().doing)
      context.progress().doing(fmt::format("{} of {} responses of the split {}", rows, all.rewards_NK.size(0), split));
    if (leaving) kept.leave(named(all), rows, task.text(), fmt::format("responses of the split {}", split));
    if (parts.due()) kept.keep(named(all), rows);
  };
  return expert_features(context, category, feature_groups(context, category, split), ranks, under_way);
}

}  // namespace

nlohmann::json features_settings(const config::RunConfig& config, const config::CategoryConfig& category) {
  return {{"phase1_share", config.phase1_share}, {"category", result_settings(category)}};
}

moe::ExpertFeatures load_features(RunContext& context, std::int32_t category, const std::string& split) {
  const auto reader = nn::SafetensorsReader::open(
      context.directory().task(plan::TaskId::features(context.category(category).name)) / (split + ".safetensors"));
  moe::ExpertFeatures features{reader.load("states"), reader.load("rewards"), {}};
  features.groups = feature_groups_of(context.store(), feature_groups(context, category, split));
  std::int64_t responses = 0;
  for (const moe::ExpertFeatures::Group& group : features.groups) responses += group.count;
  DMOERM_CHECK(responses == features.rewards_NK.size(0), "cached features belong to these groups");
  return features;
}

void run_features(RunContext& context, const plan::TaskId& task, const TaskIdentity& identity, comm::Communicator& ranks) {
  const std::int32_t category = context.category_index(task);
  std::vector<std::string> files;
  const auto folder = context.directory().task(task);
  TaskParts parts(folder, identity.key());  // pieces of a split, and the names of the splits that are written
  for (const std::string split : kSplits) {
    const bool written =
        ranks.rank() == 0 && parts.load(split).has_value() && std::filesystem::exists(folder / (split + ".safetensors"));
    if (comm::largest_of(ranks, written ? 1 : 0) > 0) {
      files.push_back(split + ".safetensors");
      continue;
    }
    const moe::ExpertFeatures features = features_of(context, task, category, split, parts, ranks);
    if (ranks.rank() != 0) continue;
    std::filesystem::create_directories(folder);
    files.push_back(split + ".safetensors");
    nn::save_safetensors(folder / files.back(), {{"states", features.states_NKH}, {"rewards", features.rewards_NK}});
    parts.keep(split, {{"responses", at::tensor({features.rewards_NK.size(0)})}});
  }
  if (ranks.rank() != 0) return;
  context.directory().complete(task, identity, files, nlohmann::json::object());
  TaskParts::remove(folder);
}

}  // namespace dmoerm::run
