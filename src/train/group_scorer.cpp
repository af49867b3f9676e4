#include "train/group_scorer.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/stop.h"
#include "nn/pairwise_loss.h"
#include "nn/transfer.h"

namespace dmoerm::train {

namespace {

/// The batches of a list of groups.
class Batches {
 public:
  Batches(const GroupScorer& scorer, const nn::Backbone& backbone, const std::vector<LabelledGroup>& groups)
      : scorer_(scorer), backbone_(backbone), groups_(groups) {
    std::vector<const LabelledGroup*> pointers;
    for (const LabelledGroup& g : groups) {
      pointers.push_back(&g);
      first_.push_back(total_);
      total_ += g.responses.size();
    }
    batches_ = cut_micro_batches(scorer.store, pointers, backbone.packing(), scorer.tokens_max);
  }

  [[nodiscard]] std::size_t size() const { return batches_.size(); }
  [[nodiscard]] std::size_t responses() const { return total_; }
  [[nodiscard]] const std::vector<std::size_t>& first_of_groups() const { return first_; }
  /// The batch's first response; that of a batch after the last is the number of responses.
  [[nodiscard]] std::size_t first(std::size_t b) const {
    if (b >= batches_.size()) return total_;
    const Portion& portion = batches_[b].front();
    return first_[static_cast<std::size_t>(portion.of - groups_.data())] + portion.first;
  }
  /// The batch of a response.
  [[nodiscard]] std::size_t containing(std::int64_t response) const {
    std::size_t b = 0;
    while (b < size() && static_cast<std::int64_t>(first(b + 1)) <= response) ++b;
    return b;
  }
  [[nodiscard]] std::size_t responses(std::size_t b) const {
    std::size_t count = 0;
    for (const Portion& portion : batches_[b]) count += portion.count;
    return count;
  }

  /// States [R, D] of a batch's responses under one model. @param trunk  that of the batch, if the caller has it; else it is set
  at::Tensor states(std::size_t b, const nn::RewardModel& model, nn::Trunk& trunk) const {
    data::PackedBatch batch;
    for (const Portion& portion : batches_[b]) {
      data::append_group(batch, scorer_.store.group(portion.of->group), portion.responses(), backbone_.packing());
    }
    const std::size_t layer = model.adapter() == nullptr ? 0 : model.adapter()->first_layer();
    if (layer > 0 && (!trunk.x_TD.defined() || trunk.layer != layer))
      trunk = scorer_.trunks.of(backbone_, model.adapter(), scorer_.store, batches_[b], scorer_.tokens_max);
    const nn::AdapterRows rows{model.adapter(), 0, batch.tokens(), 0, std::ssize(batch.responses), 0};
    return backbone_.forward(batch, {&rows, 1}, nullptr, layer > 0 ? trunk : nn::Trunk{});
  }

 private:
  const GroupScorer& scorer_;
  const nn::Backbone& backbone_;
  const std::vector<LabelledGroup>& groups_;
  std::vector<MicroBatch> batches_;
  std::vector<std::size_t> first_;
  std::size_t total_ = 0;
};

/// @param values  on the host
void append(std::vector<float>& floats, const at::Tensor& values) {
  floats.insert(floats.end(), values.const_data_ptr<float>(), values.const_data_ptr<float>() + values.numel());
}

[[noreturn]] void stop() { throw Stopped("stopped-on-request", "scoring was interrupted"); }

}  // namespace

GroupRewards GroupScorer::rewards(const nn::RewardModel& model, const std::vector<LabelledGroup>& groups) const {
  const Batches batches(*this, model.backbone(), groups);
  const auto r = static_cast<std::size_t>(ranks.size());
  std::vector<float> own;  // rewards of this rank's batches
  for (auto b = static_cast<std::size_t>(ranks.rank()); b < batches.size() && !stop_requested(); b += r) {
    nn::Trunk trunk;
    append(own, nn::download(model.rewards(batches.states(b, model, trunk))));
  }
  if (comm::largest_of(ranks, stop_requested() ? 1 : 0) > 0) stop();
  const auto gathered = ranks.all_gather(std::as_bytes(std::span<const float>(own)));
  GroupRewards result{std::vector<float>(batches.responses()), batches.first_of_groups()};
  std::vector<const float*> cursor;
  for (const auto& bytes : gathered) cursor.push_back(reinterpret_cast<const float*>(bytes.data()));
  for (std::size_t b = 0; b < batches.size(); ++b) {
    std::memcpy(result.rewards.data() + batches.first(b), cursor[b % r], batches.responses(b) * sizeof(float));
    cursor[b % r] += batches.responses(b);
  }
  return result;
}

void GroupScorer::stream_states(const std::vector<nn::RewardModel>& models, const std::vector<LabelledGroup>& groups,
                                const StatesUnderWay& under_way) const {
  const nn::Backbone& backbone = models.front().backbone();
  const Batches batches(*this, backbone, groups);
  const auto r = static_cast<std::size_t>(ranks.size());
  const std::int64_t k = std::ssize(models), width = backbone.spec().width;
  std::int64_t known = under_way.known;
  ranks.broadcast(std::as_writable_bytes(std::span(&known, 1)), 0);
  const auto first_of = [&](std::size_t b) { return static_cast<std::int64_t>(batches.first(b)); };
  // In each round every rank computes one batch and the first rank takes them all, so that no rank ever holds more.
  for (std::size_t round = batches.containing(known); round < batches.size(); round += r) {
    const std::size_t b = round + static_cast<std::size_t>(ranks.rank());
    std::vector<float> own;  // for each model the states and the rewards of the batch; nothing if this rank is to stop
    nn::Trunk trunk;
    const bool stops = stop_requested();
    std::vector<at::Tensor> on_host;  // so that a GPU is waited for once a batch
    for (std::size_t m = 0; b < batches.size() && m < models.size() && !stops; ++m) {
      const at::Tensor states_RD = batches.states(b, models[m], trunk);
      on_host.push_back(nn::begin_download(states_RD));
      on_host.push_back(nn::begin_download(models[m].rewards(states_RD)));
    }
    nn::finish_downloads(backbone.device());
    for (const at::Tensor& values : on_host) append(own, values);
    if (comm::largest_of(ranks, stops ? 1 : 0) > 0) {
      if (ranks.rank() == 0 && under_way.leave) under_way.leave(std::max(known, first_of(round)));
      stop();
    }
    const auto gathered = ranks.all_gather(std::as_bytes(std::span<const float>(own)));
    if (ranks.rank() != 0) continue;
    const std::int64_t first = first_of(round), rows = first_of(round + r) - first;
    const GroupStates some{at::empty({rows, k, width}), at::empty({rows, k})};
    for (std::size_t from = 0; from < r && round + from < batches.size(); ++from) {
      const auto reads = static_cast<std::int64_t>(batches.responses(round + from));
      const std::int64_t place = first_of(round + from) - first;
      auto* values = const_cast<float*>(reinterpret_cast<const float*>(gathered[from].data()));
      for (std::int64_t m = 0; m < k; ++m) {
        some.states_NKD.narrow(0, place, reads).select(1, m).copy_(at::from_blob(values, {reads, width}));
        some.rewards_NK.narrow(0, place, reads).select(1, m).copy_(at::from_blob(values + reads * width, {reads}));
        values += reads * (width + 1);
      }
    }
    under_way.take(some, first);
  }
}

GroupStates GroupScorer::states(const std::vector<nn::RewardModel>& models, const std::vector<LabelledGroup>& groups) const {
  std::int64_t n = 0;
  for (const LabelledGroup& group : groups) n += std::ssize(group.responses);
  const std::int64_t k = std::ssize(models);
  GroupStates all;
  if (ranks.rank() == 0) all = {at::empty({n, k, models.front().backbone().spec().width}), at::empty({n, k})};
  StatesUnderWay gather;
  gather.take = [&](const GroupStates& some, std::int64_t first) {
    all.states_NKD.narrow(0, first, some.states_NKD.size(0)).copy_(some.states_NKD);
    all.rewards_NK.narrow(0, first, some.rewards_NK.size(0)).copy_(some.rewards_NK);
  };
  stream_states(models, groups, gather);
  return all;
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
