#include "run/stage_gaps.h"

#include <ATen/ops/empty.h>
#include <fmt/format.h>

#include <algorithm>
#include <span>
#include <sstream>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "plan/task_id.h"
#include "run/task_parts.h"
#include "run/task_settings.h"

namespace dmoerm::run {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using train::LabelledGroup;

constexpr const char* kFile = "rewards.jsonl";
constexpr std::size_t kGroupsAtOnce = 256;  // batches end with them, and progress is told

/// The experts of the task's points that its round trained.
std::vector<nn::RewardModel> load_experts_of(RunContext& context, const plan::TaskId& task) {
  const std::shared_ptr<nn::Backbone> base = context.load_model(plan::TaskId::base(task.category)).shared_backbone();
  const auto folder = context.directory().task(plan::TaskId::expert(task.category, task.points, task.round));
  std::vector<nn::RewardModel> models;
  for (const std::string& point : task.points)
    models.push_back(nn::RewardModel::load(folder / point, {[&] { return base; }, {}}));
  return models;
}

/// The rewards [N, K] that an earlier start kept, in the first rows of `all_NK`. @return their number
std::int64_t take_over(KeptRows& kept, const at::Tensor& all_NK, const std::string& task) {
  std::int64_t rows = 0;
  while (const auto piece = kept.next({{"rewards", all_NK}})) {
    const at::Tensor& rewards = piece->front().second;
    all_NK.narrow(0, rows, rewards.size(0)).copy_(rewards);
    rows += rewards.size(0);
  }
  if (rows > 0) spdlog::info("[gaps] task={} goes on after {} responses", task, rows);
  return rows;
}

/// Rewards [N, K] of all responses, on the first rank. What is done is kept in pieces.
at::Tensor score(RunContext& context, const plan::TaskId& task, const std::vector<nn::RewardModel>& models,
                 const std::vector<LabelledGroup>& groups, TaskParts& parts, comm::Communicator& ranks) {
  std::int64_t responses = 0, first = 0;
  for (const LabelledGroup& group : groups) responses += std::ssize(group.responses);
  const at::Tensor all_NK = at::empty({responses, std::ssize(models)});
  KeptRows kept(parts, "rewards");
  std::int64_t known = ranks.rank() == 0 ? take_over(kept, all_NK, task.text()) : 0;
  ranks.broadcast(std::as_writable_bytes(std::span(&known, 1)), 0);
  train::StatesUnderWay under_way;
  under_way.take = [&](const train::GroupStates& some, std::int64_t begin) {
    const std::int64_t end = first + begin + some.rewards_NK.size(0);
    all_NK.narrow(0, first + begin, some.rewards_NK.size(0)).copy_(some.rewards_NK);
    if (context.progress().doing) context.progress().doing(fmt::format("{} of {} responses", end, responses));
    if (parts.due()) kept.keep({{"rewards", all_NK}}, end);
  };
  under_way.leave = [&](std::int64_t rows) { kept.leave({{"rewards", all_NK}}, first + rows, task.text(), "responses"); };
  const train::GroupScorer scorer = context.scorer(ranks);
  for (std::size_t begin = 0; begin < groups.size(); begin += kGroupsAtOnce) {
    const auto from = groups.begin() + static_cast<std::ptrdiff_t>(begin);
    const std::vector<LabelledGroup> some(
        from, groups.begin() + static_cast<std::ptrdiff_t>(std::min(begin + kGroupsAtOnce, groups.size())));
    std::int64_t rows = 0;
    for (const LabelledGroup& group : some) rows += std::ssize(group.responses);
    if (first + rows > known) {
      under_way.known = std::max<std::int64_t>(0, known - first);
      scorer.stream_states(models, some, under_way);
    }
    first += rows;
    if (context.progress().report)
      context.progress().report({{"fraction", static_cast<double>(first) / static_cast<double>(responses)}});
  }
  return all_NK;
}

}  // namespace

json gaps_settings(const config::RunConfig& config, const config::CategoryConfig& category) {
  json settings{{"category", result_settings(category)}};
  settings.update(phase1_settings(config, 0));
  return settings;
}

fs::path gaps_file(const fs::path& task_folder) { return task_folder / kFile; }

void run_gaps(RunContext& context, const plan::TaskId& task, const TaskIdentity& identity, comm::Communicator& ranks) {
  const data::TokenStore& store = context.store();
  const std::int32_t category = context.category_index(task);
  const std::vector<LabelledGroup> groups = train::whole_groups(store, category, train::Subset::phase1, context.config());
  const fs::path folder = context.directory().task(task);
  TaskParts parts(folder, identity.key());
  const at::Tensor rewards_NK = score(context, task, load_experts_of(context, task), groups, parts, ranks);
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
