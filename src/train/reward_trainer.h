// Phases 1 and 2: trains reward models on ranked groups. Several experts over one frozen base step together; each keeps its own
// optimizer, order, early stop and failure. Data-parallel over a group of ranks with the same bits for any number of them.
#pragma once
#include <cstdint>
#include <vector>

#include "train/trainee.h"

namespace dmoerm::train {

/// Train all of them to their early stop or last step, resuming from the directory's checkpoint if there is one.
/// Evaluated every eval_every_steps on the validation groups. The weights of the highest accuracy are kept (of equal ones, those
/// of the lowest loss); training stops after `patience` evaluations that raised neither the accuracy nor lowered the loss.
std::vector<TrainOutcome> train_rewards(const TrainerContext& context, std::vector<Trainee>& trainees);

}  // namespace dmoerm::train
