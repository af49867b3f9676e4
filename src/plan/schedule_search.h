// The search for a good schedule: list scheduling under many orders and group sizes, then small changes to the best.
#pragma once
#include <cstddef>

#include "plan/placement.h"

namespace dmoerm::plan {

/// Good schedule of all open tasks: several orders and group sizes are tried, the best is improved by small changes.
/// Deterministic. @param effort  elementary steps to spend, about ten nanoseconds each
Schedule search_schedule(const Problem& problem, double effort);
/// Whether search_schedule() can try enough at that effort to be worth it.
bool searchable(std::size_t open, std::size_t ranks, double effort);

}  // namespace dmoerm::plan
