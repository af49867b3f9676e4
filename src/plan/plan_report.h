// Texts and tables about a simulated run, for `dmoerm plan`.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "plan/cost_model.h"
#include "plan/simulator.h"

namespace dmoerm::plan {

/// A run as planned.
struct PlannedRun {
  TaskGraph graph;
  Cluster cluster;
  Simulation simulation;
};

/// One line of the comparison of experts.per_task.
struct FuseChoice {
  std::int64_t fuse = 1;
  double makespan = 0;
  double rank_hours = 0;  ///< Rank hours in tasks
  double memory_mib = 0;  ///< Memory on each rank of the largest expert task
  std::string refusal;    ///< Why it does not fit; "" if it does
};

struct Price {
  double per_device_hour = 0;
  std::string currency;
};

/// Makespan, bound, use of the ranks, cost, what limits it, and group sizes.
std::string summary_text(const PlannedRun& run, const Price& price);
/// Which ranks run which task when. @param most  largest number of lines
std::string schedule_text(const PlannedRun& run, std::size_t most);
std::string fuse_text(const std::vector<FuseChoice>& choices, std::int64_t configured);
nlohmann::json plan_json(const PlannedRun& run, const std::vector<std::string>& assumptions,
                         const std::vector<FuseChoice>& choices, const Price& price);

}  // namespace dmoerm::plan
