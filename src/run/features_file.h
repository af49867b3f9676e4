// The features of some groups in a file: written as they are computed and read as aggregators ask for them, so that the memory
// of both does not grow with the number of responses.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "moe/expert_features.h"
#include "run/run_context.h"
#include "run/task_parts.h"

namespace dmoerm::run {

/// Groups that the experts and the base of a category rate.
struct RatedGroups {
  std::int32_t category = 0;
  std::int32_t fold = 0;  ///< Experts of which fold, see RunContext::load_experts()
  std::vector<train::LabelledGroup> groups;
  std::string task, what;  ///< Words for messages: the task, and the groups ("the split train")
};

/// Write states and rewards of the experts, rewards of the base (aggregator.base_reward), lengths of the responses and states of
/// the prompts. No more than what one round of batches gives is in memory. Collective over `ranks`; the first of them writes.
/// What is written goes on where an earlier call of the same task was broken off, see RowsWriter.
/// @throws Stopped on a signal; IoError
void write_features(RunContext& context, const RatedGroups& rated, const std::filesystem::path& file, TaskParts& parts,
                    comm::Communicator& ranks);

/// What write_features() wrote, without groups. States stay in the file until they are asked for; a few numbers for each response
/// are read at once. @throws IoError, DataError
moe::ExpertFeatures read_features(const std::filesystem::path& file);

}  // namespace dmoerm::run
