// The stage "gaps": how a round's experts rate the groups that judges may label, which decides the pairs of the next round.
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "comm/communicator.h"
#include "run/run_context.h"

namespace dmoerm::run {

/// Settings that affect the gaps of a category, besides those of every task.
nlohmann::json gaps_settings(const config::RunConfig& config, const config::CategoryConfig& category);

/// Score all responses of the category's phase-1 groups with the experts of the task's points and round. Collective over `ranks`;
/// the first of them writes. @throws Stopped; what was scored is kept
void run_gaps(RunContext& context, const plan::TaskId& task, const TaskIdentity& identity, comm::Communicator& ranks);

/// The file that run_gaps() writes into its task's folder.
std::filesystem::path gaps_file(const std::filesystem::path& task_folder);

/// Rewards of each group's responses by the expert of one point, in units of their spread within groups. Groups are named by
/// their file and line. @throws DataError, IoError
std::map<std::pair<std::string, std::int64_t>, std::vector<double>> read_gaps(const std::filesystem::path& file,
                                                                              const std::string& point);

}  // namespace dmoerm::run
