// The states of prompts under a frozen backbone, pooled on the ranks of a task and written row by row.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "moe/category_router.h"
#include "run/rows_writer.h"
#include "run/run_context.h"

namespace dmoerm::run {

/// Prompts whose states are rows of a tensor of a file.
struct PooledPrompts {
  std::vector<std::int64_t> groups;  ///< Groups of the store, a row for the prompt of each
  std::string tensor;
  std::size_t counter = 0;  ///< The file's counter of these rows
  std::string task, what;   ///< Words for messages: the task, and the rows ("prompts of the split train")
};

/// Compute the states of the prompts, and write those that are not written yet. Every rank computes a batch at a time and the
/// first rank writes them all; the batches, and so the bits, do not depend on the number of ranks. Collective.
/// @param file  on the first rank; null on the others
/// @throws Stopped on a signal; IoError
void write_pooled_prompts(const RunContext& context, const PooledPrompts& prompts, const nn::Backbone& backbone,
                          const moe::PromptReading& reading, RowsWriter* file, comm::Communicator& ranks);

}  // namespace dmoerm::run
