// The stage "eval": test figures of a category.
#pragma once
#include <string>

#include "comm/communicator.h"
#include "run/run_context.h"

namespace dmoerm::run {

/// Settings that decide the test figures, beside those of every task.
nlohmann::json eval_settings(const config::RunConfig& config);

/// Score the test groups of a category with every model and write results.json, group by group. Collective over the group; its
/// first rank writes.
void run_eval(RunContext& context, const std::string& task, std::int32_t category, const TaskIdentity& identity,
              comm::Communicator& ranks);

}  // namespace dmoerm::run
