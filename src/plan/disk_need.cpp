#include "plan/disk_need.h"

#include <algorithm>
#include <functional>
#include <vector>

#include "plan/task_id.h"

namespace dmoerm::plan {

DiskNeed disk_need(const TaskGraph& graph, const std::set<std::string>& done, const ModelShape& model, const DeviceModel& device,
                   int ranks, std::int64_t kept) {
  constexpr double kMib = 1024.0 * 1024.0;
  DiskNeed need;
  std::vector<double> checkpoints;
  double bundle = 0;
  bool all_weights = false;  // whether each base has weights of its own
  const double backbone = model.parameters * device.weight_bytes / kMib;
  for (const Task& task : graph.tasks()) {
    const auto id = TaskId::parse(task.id);
    if (id && id->round == 0 && id->fold == 0 &&
        (id->kind == TaskKind::base || id->kind == TaskKind::expert_set || id->kind == TaskKind::single)) {
      bundle += task.output_mib;
      all_weights = all_weights || (id->kind == TaskKind::base && task.output_mib >= backbone);
    }
    if (task.external || done.contains(task.id)) continue;
    need.results += task.output_mib;
    checkpoints.push_back(task.checkpoint_mib);
  }
  if (!all_weights) bundle += backbone;
  if (graph.has(TaskId::bundle().text()) && !done.contains(TaskId::bundle().text())) need.results += bundle;
  std::ranges::sort(checkpoints, std::greater());
  for (std::size_t i = 0; i < checkpoints.size() && i < static_cast<std::size_t>(ranks); ++i)
    need.checkpoints += checkpoints[i] * static_cast<double>(kept + 1);
  return need;
}

}  // namespace dmoerm::plan
