#include "run/stage_gaps.h"

#include <ATen/ops/cat.h>
#include <fmt/format.h>

#include <algorithm>
#include <sstream>

#include "base/error.h"
#include "base/files.h"
#include "plan/task_id.h"
#include "run/task_parts.h"
#include "run/task_settings.h"

namespace dmoerm::run {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using train::LabelledGroup;

constexpr const char* kFile = "rewards.jsonl";
constexpr std::size_t kGroupsOfAPart = 256;  // scored between two moments at which a stop loses nothing

/// The experts of the task's points that its round trained.
std::vector<nn::RewardModel> load_experts_of(RunContext& context, const plan::TaskId& task) {
  const std::shared_ptr<nn::Backbone> base = context.load_model(plan::TaskId::base(task.category)).shared_backbone();
  const auto folder = context.directory().task(plan::TaskId::expert(task.category, task.points, task.round));
  std::vector<nn::RewardModel> models;
  for (const std::string& point : task.points)
    models.push_back(nn::RewardModel::load(folder / point, {[&] { return base; }, {}}));
  return models;
}

/// Rewards [N, K] of all responses, on the first rank; it keeps each part as soon as it is scored.
at::Tensor score(RunContext& context, const std::vector<nn::RewardModel>& models, const std::vector<LabelledGroup>& groups,
                 TaskParts& parts, comm::Communicator& ranks) {
  std::vector<at::Tensor> scored;
  const train::GroupScorer scorer = context.scorer(ranks);
  for (std::size_t first = 0; first < groups.size(); first += kGroupsOfAPart) {
    const std::string part = fmt::format("groups-{}", first);
    std::optional<nn::NamedTensors> kept;
    if (ranks.rank() == 0) kept = parts.load(part);
    if (comm::largest_of(ranks, kept ? 1 : 0) > 0) {
      if (kept) scored.push_back(kept->front().second);
    } else {
      const std::size_t end = std::min(groups.size(), first + kGroupsOfAPart);
      const std::vector<LabelledGroup> some(groups.begin() + static_cast<std::ptrdiff_t>(first),
                                            groups.begin() + static_cast<std::ptrdiff_t>(end));
      const at::Tensor rewards_NK = scorer.states(models, some).rewards_NK;
      if (ranks.rank() == 0) {
        parts.keep(part, {{"rewards", rewards_NK}});
        scored.push_back(rewards_NK);
      }
    }
    if (context.progress().report)
      context.progress().report(
          {{"fraction", std::min(1.0, static_cast<double>(first + kGroupsOfAPart) / static_cast<double>(groups.size()))}});
  }
  return scored.empty() ? at::Tensor() : at::cat(scored);
}

}  // namespace

json gaps_settings(const config::RunConfig& config, const config::CategoryConfig& category) {
  return {{"phase1_share", config.phase1_share}, {"category", result_settings(category)}};
}

fs::path gaps_file(const fs::path& task_folder) { return task_folder / kFile; }

void run_gaps(RunContext& context, const plan::TaskId& task, const TaskIdentity& identity, comm::Communicator& ranks) {
  const data::TokenStore& store = context.store();
  const std::int32_t category = context.category_index(task);
  const std::vector<LabelledGroup> groups = train::whole_groups(store, category, train::Subset::phase1, context.config());
  const fs::path folder = context.directory().task(task);
  TaskParts parts(folder, identity.key());
  const at::Tensor rewards_NK = score(context, load_experts_of(context, task), groups, parts, ranks);
  if (ranks.rank() != 0) return;
  std::string text;
  if (!groups.empty()) {
    const at::Tensor spread_K = moe::spread_within_groups(rewards_NK, feature_groups_of(store, groups));
    const at::Tensor units_NK = rewards_NK.div(spread_K.clamp_min(1e-12)).to(at::kDouble).contiguous();
    const double* units = units_NK.const_data_ptr<double>();
    for (const LabelledGroup& group : groups) {
      const auto [file, line] = store.source(group.group);
      json rewards = json::object();
      for (std::size_t r = 0; r < group.responses.size(); ++r) {
        for (const std::string& point : task.points) rewards[point].push_back(*units++);
      }
      text += json{{"file", file}, {"line", line}, {"rewards", rewards}}.dump() + "\n";
    }
  }
  fs::create_directories(folder);
  write_file_atomically(gaps_file(folder), text);
  context.directory().complete(task, identity, {kFile}, {{"groups", groups.size()}});
  TaskParts::remove(folder);
}

std::map<std::pair<std::string, std::int64_t>, std::vector<double>> read_gaps(const fs::path& file, const std::string& point) {
  std::map<std::pair<std::string, std::int64_t>, std::vector<double>> rewards;
  std::istringstream text(read_file(file));
  std::int64_t number = 0;
  for (std::string line; std::getline(text, line);) {
    ++number;
    try {
      const json row = json::parse(line);
      rewards[{row.at("file"), row.at("line")}] = row.at("rewards").at(point).get<std::vector<double>>();
    } catch (const json::exception&) {
      throw DataError("gaps-file-line", fmt::format("{}:{}: not a line of rewards that has the point {}; remove the folder, so "
                                                    "that the task is done again",
                                                    file.string(), number, point));
    }
  }
  return rewards;
}

}  // namespace dmoerm::run
