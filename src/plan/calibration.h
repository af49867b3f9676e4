// Compares a real run's timeline (docs/formats.md) with the costs that the model gives its tasks.
#pragma once
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "plan/task_graph.h"

namespace dmoerm::plan {

struct Calibration {
  std::map<std::string, double> of_kind;  ///< Kind of task -> measured seconds per modelled second, on one rank
  std::map<std::string, double> of_task;  ///< The same for each task that was measured
  double of_all = 1;
  std::map<std::string, std::map<int, double>> speedup;  ///< Kind -> ranks -> measured speed-up, where one rank was measured too
  std::map<std::string, double> share;                   ///< Task -> share of its longest training that it took
  int ranks = 0;
  double seconds = 0;  ///< Seconds from the start of the run to its end, restarts included
};

/// @param ranks_at_speed  ranks of a node that can work at full speed at once; 0 = all (SimulationOptions)
/// @throws IoError, or DataError with file:line if the timeline is not what it should be or names none of the graph's tasks
Calibration calibrate(const std::filesystem::path& timeline, const TaskGraph& graph, double ranks_at_speed);

/// The graph with measured costs and speed-ups.
TaskGraph calibrated(const TaskGraph& graph, const Calibration& calibration);

}  // namespace dmoerm::plan
