// Starts value heads from a regression on frozen states (head.start: ridge).
#pragma once
#include <vector>

#include "comm/communicator.h"
#include "run/run_context.h"
#include "train/trainee.h"

namespace dmoerm::run {

/// Replace each trainee's head by the weights of a ridge regression of its train pairs on the states that its model gives now
/// (moe/pairwise_ridge), which shrinks to the head that it has. Each state counts relative to its size in the differences of
/// pairs. The strength is the one with the lowest loss on the validation pairs, or on folds of the train pairs if there are none.
/// At most plan::kHeadStartGroups groups of each split are read. Collective over `ranks`. Does nothing with head.start: random.
/// @throws Stopped on a signal
void start_heads(RunContext& context, std::vector<train::Trainee>& trainees, comm::Communicator& ranks);

}  // namespace dmoerm::run
