// Scores many groups of the token store with frozen models: for validation during training, and for the aggregator's features.
#pragma once
#include <ATen/core/Tensor.h>

#include <functional>
#include <vector>

#include "comm/communicator.h"
#include "nn/reward_model.h"
#include "train/training_set.h"
#include "train/trunk_cache.h"

namespace dmoerm::train {

/// Results for all responses, in the order of the groups.
struct GroupRewards {
  std::vector<float> rewards;      ///< Rewards [N]
  std::vector<std::size_t> first;  ///< Index of each group's first response in `rewards`
};

/// What several models make of all responses, in the order of the groups; float32 on the CPU.
struct GroupStates {
  at::Tensor states_NKD;  ///< States under each of the K models
  at::Tensor rewards_NK;
};

/// How states that an earlier call computed are taken over, and how those of this call are kept. Both functions are called on the
/// first rank alone, and either may be empty.
struct StatesUnderWay {
  /// Fills the first rows of `all`, which has room for all responses. @return how many it filled
  std::function<std::int64_t(GroupStates& all)> resume = {};
  /// Receives the first `rows` rows after each round of batches. It may throw to break the work off if `leaving` says that a
  /// signal asks for it; Stopped is thrown otherwise.
  std::function<void(const GroupStates& all, std::int64_t rows, bool leaving)> look = {};
};

/// Scores groups in packed batches of at most `tokens_max` tokens, which the ranks share out. The batches, and so the bits of the
/// results, do not depend on the number of ranks. Collective. @throws Stopped on a signal
struct GroupScorer {
  const data::TokenStore& store;
  std::int64_t tokens_max;
  TrunkCache& trunks;  ///< Cache of the states below the adapted layers
  comm::Communicator& ranks;

  /// Rewards under one model, on every rank.
  [[nodiscard]] GroupRewards rewards(const nn::RewardModel& model, const std::vector<LabelledGroup>& groups) const;
  /// States and rewards under all models, on the first rank; the others keep nothing and get undefined tensors. The models adapt
  /// one backbone: what lies below their adapted layers is computed once for all of them.
  [[nodiscard]] GroupStates states(const std::vector<nn::RewardModel>& models, const std::vector<LabelledGroup>& groups,
                                   const StatesUnderWay& under_way = {}) const;
};

/// Accuracy and mean loss over all pairs; {0.5, log 2} without pairs.
struct PairFigures {
  double accuracy = 0.5, loss = 0.6931471805599453;
  std::int64_t pairs = 0;
};
PairFigures pair_figures(const GroupRewards& scored, const std::vector<LabelledGroup>& groups);

}  // namespace dmoerm::train
