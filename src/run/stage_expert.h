// The stage "expert", phase 2: trains experts of a category together over its frozen base.
#pragma once
#include <cstdint>
#include <string>

#include "comm/communicator.h"
#include "plan/task_id.h"
#include "run/run_context.h"

namespace dmoerm::run {

/// Settings that affect experts, besides those of every task.
nlohmann::json expert_settings(const config::RunConfig& config, const config::CategoryConfig& category, std::int32_t fold);

/// Train the experts of the task's points together, in its round of labelling and without the prompts of its fold (see TaskId),
/// and take over those that are imported. Collective over `ranks`; the first of them writes.
void run_experts(RunContext& context, const plan::TaskId& task, const TaskIdentity& identity, comm::Communicator& ranks);

}  // namespace dmoerm::run
