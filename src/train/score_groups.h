// Rewards of many groups under one frozen model: validation, features for the aggregator, the final evaluation.
#pragma once
#include <ATen/core/Tensor.h>

#include <vector>

#include "comm/communicator.h"
#include "nn/backbone.h"
#include "train/label_set.h"
#include "train/trunk_cache.h"

namespace dmoerm::train {

/// A frozen reward model: base, adapter (may be null: the base's own weights were trained) and value head.
struct FrozenModel {
  const nn::Backbone* backbone = nullptr;
  const nn::Expert* adapter = nullptr;
  at::Tensor head_D;
  TrunkCache* trunks = nullptr;  ///< for adapters of the top layers
};

/// Results of all groups, response after response in the order of `groups`.
struct GroupRewards {
  std::vector<float> rewards;      ///< [N]
  at::Tensor states_ND;            ///< float32 on the CPU; only if asked for
  std::vector<std::size_t> first;  ///< of each group in `rewards`
};

/// Score the groups in packed batches of at most `tokens_max` tokens, which the ranks of `group` share; every rank gets all
/// results. The batches, and so the bits, do not depend on the number of ranks.
GroupRewards score_groups(const data::TokenStore& store, const FrozenModel& frozen, const std::vector<LabelledGroup>& groups,
                          std::int64_t tokens_max, bool with_states, comm::Communicator& group);

/// Accuracy and mean loss over all pairs. {0.5, log 2} without pairs.
struct PairFigures {
  double accuracy = 0.5, loss = 0.6931471805599453;
  std::int64_t pairs = 0;
};
PairFigures pair_figures(const GroupRewards& scored, const std::vector<LabelledGroup>& groups);

}  // namespace dmoerm::train
