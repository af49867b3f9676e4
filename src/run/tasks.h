// The tasks of a run, one function a kind. Each is collective over its group of ranks; the first rank writes files and the
// manifest.
#pragma once
#include <map>
#include <string>

#include "comm/communicator.h"
#include "run/run_context.h"

namespace dmoerm::run {

/// Fit the router on pooled base states of the train prompts, calibrate it on the validation prompts.
void run_router(RunContext& context, const TaskIdentity& identity, comm::Communicator& group);
/// Phase 1 and the baselines: one reward model on overall labels. @param category  -1: all categories
void run_base(RunContext& context, const std::string& task, std::int32_t category, train::Part part, std::int64_t steps_max,
              const TaskIdentity& identity, comm::Communicator& group);
/// Phase 2: the experts of one fused set.
void run_experts(RunContext& context, const std::string& task, std::int32_t category, std::size_t first_point, std::size_t points,
                 const TaskIdentity& identity, comm::Communicator& group);
/// States and rewards of the experts on the aggregator's part and on the validation groups, cached for phase 3.
void run_features(RunContext& context, const std::string& task, std::int32_t category, const TaskIdentity& identity,
                  comm::Communicator& group);
/// Phase 3: mean, linear and MLP aggregators, and the choice between them.
void run_aggregator(RunContext& context, const std::string& task, std::int32_t category, const TaskIdentity& identity,
                    comm::Communicator& group);
/// Test figures of one category, group by group: results.json.
void run_eval(RunContext& context, const std::string& task, std::int32_t category, const TaskIdentity& identity,
              comm::Communicator& group);
/// Tables over all categories: report.json, report.md.
void run_report(RunContext& context, const std::string& task, const TaskIdentity& identity, comm::Communicator& group);

/// Mean and deviation of rewards [N], for consumers that want them normalised: {"mean", "std", "count"}.
nlohmann::json score_statistics(const at::Tensor& rewards_N);
/// Prompts of groups as token ids, and their pooled base states.
at::Tensor pooled_prompts(RunContext& context, const std::vector<std::int64_t>& groups);

}  // namespace dmoerm::run
