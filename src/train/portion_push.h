// The losses of groups that are too large for one pass. A first pass over each portion gives only its rewards; from the rewards
// of all portions follows the slope of the loss in each of them, with which the portions can then go backward one by one. So a
// group of any size trains in the memory of one pass, for one more forward pass.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "train/micro_batch_pass.h"

namespace dmoerm::train {

/// The pushes of a step's portions, by trainee and number of the micro batch. The first portion of a group has its loss.
using PortionPushes = std::map<std::pair<std::size_t, std::int64_t>, Push>;

/// Compute the rewards of all portions of a step, each on the rank that will take it backward, and the pushes that follow.
/// Collective over the ranks if the step has portions.
/// @param cuts       micro batches of each trainee's step
/// @param numbers    numbers of the micro batches that this rank computes
/// @param bad_group  receives the id of the first group whose loss is not finite, unless it holds one
PortionPushes push_portions(const TrainerContext& context, std::int64_t step, const std::vector<TraineeState*>& trainees,
                            const std::vector<std::vector<MicroBatch>>& cuts, const std::vector<std::int64_t>& numbers,
                            std::string& bad_group);

}  // namespace dmoerm::train
