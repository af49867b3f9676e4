// Phases 1 and 2: trains reward models on ranked groups. Several experts over one frozen base train together, each with its own
// optimizer, order, early stop and failure. Data-parallel over the ranks, with the same bits for any number of them.
#pragma once
#include <cstdint>
#include <vector>

#include "train/trainee.h"

namespace dmoerm::train {

/// Train all trainees to their early stop or last step, resuming from the directory's checkpoint if there is one. Every
/// eval_every_steps it evaluates them on their validation groups, and keeps the weights with the highest accuracy (of equal ones,
/// those with the lowest loss), or with select_by: loss those with the lowest loss. A trainee stops after `patience` evaluations
/// that neither raised the accuracy nor lowered the loss.
std::vector<TrainOutcome> train_rewards(const TrainerContext& context, std::vector<Trainee>& trainees);

}  // namespace dmoerm::train
