// The stage "report": writes tables over all categories.
#pragma once
#include <string>

#include "comm/communicator.h"
#include "run/run_context.h"

namespace dmoerm::run {

/// Settings that affect the report, besides those of every task.
nlohmann::json report_settings(const config::RunConfig& config);

/// Write report.md, report.json and cost.json. Collective over `ranks`; only the first of them works.
void run_report(RunContext& context, const plan::TaskId& task, const TaskIdentity& identity, comm::Communicator& ranks);

}  // namespace dmoerm::run
