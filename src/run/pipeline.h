// Does the tasks of a run: what is done, what must be done, and who does it.
#pragma once
#include "comm/world.h"
#include "run/dispatch_loop.h"
#include "run/plan_tasks.h"
#include "run/run_context.h"

namespace dmoerm::run {

/// Everything beside configuration and token store that the tasks' identities depend on. The first rank finds it out, and tells
/// the others through files of the run directory.
struct RunFacts {
  ComputedOn on;
  ExternalTasks external;
};

/// On the first rank, before all ranks start together: check data and configuration, and the run directory against both.
/// @param facts  written into the run directory for the other ranks
/// @param update  forget tasks whose settings or inputs changed, so that they are done again; otherwise such a run directory is
/// refused
/// @throws as check_data() and stale_tasks()
void check_run_directory(const RunContext& context, const RunFacts& facts, bool update);

/// Do what is not done yet. Collective over the world.
RunSummary run_pipeline(RunContext& context, comm::World& world, const RunHooks& hooks = {});

}  // namespace dmoerm::run
