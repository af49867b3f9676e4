// Draws a simulated run: ranks from top to bottom, time from left to right.
#pragma once
#include <string>

#include "plan/simulator.h"

namespace dmoerm::plan {

/// SVG of a page's width: one bar for each interval of a task on its ranks, a colour for each category, a shade for each kind of
/// task.
/// @param title  one line
std::string gantt_svg(const TaskGraph& graph, const Simulation& simulation, const Cluster& cluster, const std::string& title);

/// 95 s -> "1 min 35 s"; 8000 s -> "2 h 13 min"; 300000 s -> "3 d 11 h".
std::string readable_seconds(double seconds);

}  // namespace dmoerm::plan
