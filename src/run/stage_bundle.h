// The stage "bundle": the finished model as one directory.
#pragma once
#include "comm/communicator.h"
#include "run/run_context.h"

namespace dmoerm::run {

/// Write <run>/bundle from the run's finished tasks, load it again and compare. Collective over `ranks`; only the first works.
void run_bundle(RunContext& context, const TaskIdentity& identity, comm::Communicator& ranks);

}  // namespace dmoerm::run
