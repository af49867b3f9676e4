// Does the tasks of a run that are not done yet.
#pragma once
#include "comm/world.h"
#include "run/dispatch_loop.h"
#include "run/plan_tasks.h"
#include "run/run_context.h"

namespace dmoerm::run {

/// What the tasks' identities depend on besides configuration and token store. The first rank determines it, and writes it into
/// files of the run directory for the other ranks.
struct RunFacts {
  ComputedOn on;
  ExternalTasks external;
};

/// Give external tasks that read tasks of the ranks their inputs and revisions. @throws as check_data()
void complete_facts(const RunContext& context, RunFacts& facts);

/// Check the data and the configuration, and compare the run directory with both. Runs on the first rank before all ranks start.
/// @param facts  written into the run directory for the other ranks
/// @param update  true: forget tasks whose settings or inputs changed, so that they are done again; false: refuse such a run
/// directory
/// @throws as check_data() and stale_tasks()
void check_run_directory(const RunContext& context, const RunFacts& facts, bool update);

/// Do what is not done yet. Collective over the world.
RunSummary run_pipeline(RunContext& context, comm::World& world, const RunHooks& hooks = {});

}  // namespace dmoerm::run
