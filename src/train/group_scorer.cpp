#include "train/group_scorer.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>

#include <cstring>

#include "base/error.h"
#include "base/stop.h"
#include "nn/pairwise_loss.h"

namespace dmoerm::train {

namespace {

GroupRewards score(const GroupScorer& scorer, const nn::RewardModel& model, const std::vector<LabelledGroup>& groups,
                   bool with_states) {
  const data::TokenStore& store = scorer.store;
  const nn::Backbone& backbone = model.backbone();
  comm::Communicator& ranks = scorer.ranks;
  GroupRewards result;
  std::vector<const LabelledGroup*> pointers;
  std::size_t total = 0;
  for (const LabelledGroup& g : groups) {
    pointers.push_back(&g);
    result.first.push_back(total);
    total += g.responses.size();
  }
  const bool share = backbone.shares_prefix();
  const std::int64_t width = backbone.spec().width;
  const auto batches = cut_micro_batches(store, pointers, share, scorer.tokens_max);
  std::vector<float> own;  // rewards of this rank's batches, followed by their states if wanted
  for (std::size_t b = static_cast<std::size_t>(ranks.rank()); b < batches.size() && !stop_requested();
       b += static_cast<std::size_t>(ranks.size())) {
    data::PackedBatch batch;
    std::vector<const LabelledGroup*> members;
    for (const std::size_t i : batches[b]) members.push_back(&groups[i]);
    for (const std::size_t i : batches[b])
      data::append_group(batch, store.group(groups[i].group), groups[i].responses, share, backbone.reads_last());
    const auto reads = static_cast<std::int64_t>(batch.responses.size());
    const nn::AdapterRows rows{model.adapter(), 0, batch.tokens(), 0, reads, 0};
    const nn::Trunk trunk = scorer.trunks.of(backbone, model.adapter(), store, members);
    const at::Tensor states = backbone.forward(batch, {&rows, 1}, nullptr, trunk);
    const at::Tensor rewards = model.rewards(states).cpu();
    own.insert(own.end(), rewards.const_data_ptr<float>(), rewards.const_data_ptr<float>() + reads);
    if (with_states) {
      const at::Tensor local = states.cpu().contiguous();
      own.insert(own.end(), local.const_data_ptr<float>(), local.const_data_ptr<float>() + reads * width);
    }
  }
  if (comm::largest_of(ranks, stop_requested() ? 1 : 0) > 0) throw Stopped("stopped-on-request", "scoring was interrupted");
  const auto gathered = ranks.all_gather(std::as_bytes(std::span<const float>(own)));
  result.rewards.resize(total);
  if (with_states) result.states_ND = at::empty({static_cast<std::int64_t>(total), width});
  std::vector<const float*> cursor;
  for (const auto& bytes : gathered) cursor.push_back(reinterpret_cast<const float*>(bytes.data()));
  for (std::size_t b = 0; b < batches.size(); ++b) {
    const float*& from = cursor[b % static_cast<std::size_t>(ranks.size())];
    const std::size_t first = result.first[batches[b].front()];
    std::size_t reads = 0;
    for (const std::size_t i : batches[b]) reads += groups[i].responses.size();
    std::memcpy(result.rewards.data() + first, from, reads * sizeof(float));
    from += reads;
    if (with_states) {
      std::memcpy(result.states_ND.data_ptr<float>() + first * static_cast<std::size_t>(width), from,
                  reads * static_cast<std::size_t>(width) * sizeof(float));
      from += reads * static_cast<std::size_t>(width);
    }
  }
  return result;
}

}  // namespace

GroupRewards GroupScorer::rewards(const nn::RewardModel& model, const std::vector<LabelledGroup>& groups) const {
  return score(*this, model, groups, false);
}

GroupRewards GroupScorer::rewards_and_states(const nn::RewardModel& model, const std::vector<LabelledGroup>& groups) const {
  return score(*this, model, groups, true);
}

PairFigures pair_figures(const GroupRewards& scored, const std::vector<LabelledGroup>& groups) {
  PairFigures figures;
  double right = 0, loss = 0;
  for (std::size_t i = 0; i < groups.size(); ++i) {
    const std::span<const float> rewards(scored.rewards.data() + scored.first[i], groups[i].responses.size());
    std::vector<float> unused(rewards.size());
    right += nn::pairs_right(rewards, groups[i].pairs);
    loss += nn::pairwise_loss(rewards, groups[i].pairs, 0.0, unused) * static_cast<double>(groups[i].pairs.size());
    figures.pairs += static_cast<std::int64_t>(groups[i].pairs.size());
  }
  if (figures.pairs > 0) {
    figures.accuracy = right / static_cast<double>(figures.pairs);
    figures.loss = loss / static_cast<double>(figures.pairs);
  }
  return figures;
}

}  // namespace dmoerm::train
