// Draws a simulated run: ranks from top to bottom, time from left to right.
#pragma once
#include <string>

#include "plan/simulator.h"

namespace dmoerm::plan {

/// SVG with one bar for each interval of a task on its ranks; the colour shows the category, its shade the kind of task.
/// @param title  one line
std::string gantt_svg(const TaskGraph& graph, const Simulation& simulation, const Cluster& cluster, const std::string& title);

}  // namespace dmoerm::plan
