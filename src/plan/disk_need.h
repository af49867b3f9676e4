// How many bytes a run will write into its directory.
#pragma once
#include <set>
#include <string>

#include "plan/cost_model.h"
#include "plan/task_graph.h"

namespace dmoerm::plan {

/// Sizes in MiB, without tables, logs and other small files.
struct DiskNeed {
  double results = 0;      ///< Results of the tasks that are not done, and the bundle, which holds most of them once more
  double checkpoints = 0;  ///< Largest size of the checkpoints that exist at a time
  [[nodiscard]] double all() const { return results + checkpoints; }
};

/// @param done   tasks that need not run
/// @param ranks  number of ranks, so of tasks that run at a time
/// @param kept   checkpoints of a task that are kept; one more exists while it is written
DiskNeed disk_need(const TaskGraph& graph, const std::set<std::string>& done, const ModelShape& model, const DeviceModel& device,
                   int ranks, std::int64_t kept);

}  // namespace dmoerm::plan
