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

/// What several models make of some responses, in the order of the groups; float32 on the CPU.
struct GroupStates {
  at::Tensor states_NKD;  ///< States under each of the K models
  at::Tensor rewards_NK;
};

/// What becomes of states as they are computed, so that they need not be in memory together. Everything here counts on the first
/// rank alone.
struct StatesUnderWay {
  std::int64_t known = 0;  ///< Responses at the beginning that need not be computed
  /// Receives what each round of batches gives, and the number of its first response. The first round may begin with known
  /// responses, which have the bits that they had.
  std::function<void(const GroupStates& some, std::int64_t first)> take = {};
  /// Called when a signal asks to stop, with the number of responses that are known or were taken. It may throw; Stopped is
  /// thrown otherwise. May be empty.
  std::function<void(std::int64_t responses)> leave = {};
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
  /// States and rewards under all models, a round of batches at a time. The models adapt one backbone: what lies below their
  /// adapted layers is computed once for all of them.
  void stream_states(const std::vector<nn::RewardModel>& models, const std::vector<LabelledGroup>& groups,
                     const StatesUnderWay& under_way) const;
  /// The same of few groups together, on the first rank; the others keep nothing and get undefined tensors.
  [[nodiscard]] GroupStates states(const std::vector<nn::RewardModel>& models, const std::vector<LabelledGroup>& groups) const;
};

/// Accuracy and mean loss over all pairs; {0.5, log 2} without pairs.
struct PairFigures {
  double accuracy = 0.5, loss = 0.6931471805599453;
  std::int64_t pairs = 0;
};
PairFigures pair_figures(const GroupRewards& scored, const std::vector<LabelledGroup>& groups);

}  // namespace dmoerm::train
