// Scores many groups of the token store with one frozen model: for validation during training, and for the aggregator's features.
#pragma once
#include <ATen/core/Tensor.h>

#include <vector>

#include "comm/communicator.h"
#include "nn/reward_model.h"
#include "train/training_set.h"
#include "train/trunk_cache.h"

namespace dmoerm::train {

/// Results for all responses, in the order of the groups.
struct GroupRewards {
  std::vector<float> rewards;      ///< Rewards [N]
  at::Tensor states_ND;            ///< States, float32 on the CPU; undefined unless rewards_and_states() was called
  std::vector<std::size_t> first;  ///< Index of each group's first response in `rewards`
};

/// Scores groups in packed batches of at most `tokens_max` tokens, which the ranks share out; every rank gets all results. The
/// batches, and so the bits of the results, do not depend on the number of ranks. Collective. @throws Stopped on a signal
struct GroupScorer {
  const data::TokenStore& store;
  std::int64_t tokens_max;
  TrunkCache& trunks;  ///< Cache of the states below the adapted layers
  comm::Communicator& ranks;

  [[nodiscard]] GroupRewards rewards(const nn::RewardModel& model, const std::vector<LabelledGroup>& groups) const;
  [[nodiscard]] GroupRewards rewards_and_states(const nn::RewardModel& model, const std::vector<LabelledGroup>& groups) const;
};

/// Accuracy and mean loss over all pairs; {0.5, log 2} without pairs.
struct PairFigures {
  double accuracy = 0.5, loss = 0.6931471805599453;
  std::int64_t pairs = 0;
};
PairFigures pair_figures(const GroupRewards& scored, const std::vector<LabelledGroup>& groups);

}  // namespace dmoerm::train
