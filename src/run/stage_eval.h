// The stage "eval": evaluates every model on a category's test groups.
#pragma once
#include <string>

#include "comm/communicator.h"
#include "run/run_context.h"

namespace dmoerm::run {

/// Settings that affect the test figures, besides those of every task.
nlohmann::json eval_settings(const config::RunConfig& config);

/// Score the test groups of a category with every model, and write the figures of each group into results.json. Collective over
/// `ranks`; the first of them writes.
void run_eval(RunContext& context, const plan::TaskId& task, const TaskIdentity& identity, comm::Communicator& ranks);

}  // namespace dmoerm::run
