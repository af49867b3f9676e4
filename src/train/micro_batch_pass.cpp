#include "train/micro_batch_pass.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/mv.h>
#include <ATen/ops/outer.h>
#include <ATen/record_function.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <span>

#include "base/rng.h"
#include "nn/pairwise_loss.h"
#include "nn/transfer.h"

namespace dmoerm::train {

Push push_of(const config::TrainConfig& train, const LabelledGroup& group, std::span<const float> rewards) {
  const double scale = 1.0 / static_cast<double>(train.groups_per_step);
  Push push{0, std::vector<float>(rewards.size(), 0.0F)};
  push.loss = nn::pairwise_loss(rewards, group.pairs, scale, push.slopes) +
              nn::centring_loss(rewards, train.center_rewards_coefficient, scale, push.slopes);
  return push;
}

std::uint64_t dropout_draw(std::int64_t step, std::int64_t number) {
  constexpr std::int64_t kUsual = 4096;  // micro batches of a step, whose numbers lie side by side
  if (number < kUsual) return static_cast<std::uint64_t>(step * kUsual + number);
  constexpr std::uint64_t kRest = std::uint64_t{1} << 63;
  return kRest | (static_cast<std::uint64_t>(step) << 31) | static_cast<std::uint64_t>(number);
}

void MicroBatchPass::add(TraineeState& trainee, const MicroBatch& portions, const Push* known) {
  RECORD_FUNCTION("train::data", {});
  const nn::Backbone& backbone = trainee.model().backbone();
  Slice slice{&trainee, {}, portions, known};
  slice.rows.adapter = trainee.adapter_of_step();
  slice.rows.first_row = batch_.tokens();
  slice.rows.first_read = static_cast<std::int64_t>(batch_.responses.size());
  for (const Portion& portion : portions) {
    data::append_group(batch_, context_.store.group(portion.of->group), portion.responses(), backbone.packing());
  }
  slice.rows.rows = batch_.tokens() - slice.rows.first_row;
  slice.rows.reads = static_cast<std::int64_t>(batch_.responses.size()) - slice.rows.first_read;
  slice.rows.dropout_key = Rng(context_.seed, "dropout/" + trainee.name(), dropout_draw(step_, number_)).next() | 1;
  slices_.push_back(std::move(slice));
}

void MicroBatchPass::run() {
  const nn::Backbone& backbone = slices_.front().trainee->model().backbone();
  nn::BackboneGradients sinks;
  for (Slice& slice : slices_) slice.trainee->begin_micro_batch(sinks);
  nn::ForwardState keep;
  keep.recompute = context_.train.gradient_checkpointing;
  const at::Tensor states_RD = backbone.forward(batch_, rows(), &keep, trunk());
  const auto [losses, slopes] = pushes(states_RD);
  const at::Tensor grad_RD = at::empty_like(states_RD), slopes_R = nn::upload(slopes, states_RD.device());
  for (const Slice& slice : slices_) {
    const auto own = [&](const at::Tensor& x) { return x.narrow(0, slice.rows.first_read, slice.rows.reads); };
    slice.trainee->gradients().head_D().add_(at::mv(own(states_RD).t(), own(slopes_R)));
    own(grad_RD).copy_(at::outer(own(slopes_R), slice.trainee->model().head().w_D));
  }
  backbone.backward(grad_RD, keep, sinks);
  for (std::size_t i = 0; i < slices_.size(); ++i) slices_[i].trainee->end_micro_batch(losses[i]);
}

std::vector<float> MicroBatchPass::rewards() {
  const at::Tensor all = rewards_of(slices_.front().trainee->model().backbone().forward(batch_, rows(), nullptr, trunk()));
  return {all.const_data_ptr<float>(), all.const_data_ptr<float>() + all.numel()};
}

at::Tensor MicroBatchPass::rewards_of(const at::Tensor& states_RD) const {
  std::vector<at::Tensor> rewards;
  for (const Slice& slice : slices_)
    rewards.push_back(slice.trainee->model().rewards(states_RD.narrow(0, slice.rows.first_read, slice.rows.reads)));
  return nn::download(rewards.size() == 1 ? rewards.front() : at::cat(rewards));
}

std::vector<nn::AdapterRows> MicroBatchPass::rows() const {
  std::vector<nn::AdapterRows> rows;
  for (const Slice& slice : slices_) rows.push_back(slice.rows);
  return rows;
}

nn::Trunk MicroBatchPass::trunk() const {
  MicroBatch portions;
  for (const Slice& slice : slices_) std::ranges::copy(slice.portions, std::back_inserter(portions));
  return context_.trunks.of(slices_.front().trainee->model().backbone(), slices_.front().trainee->model().adapter(),
                            context_.store, portions, context_.compute.micro_batch_tokens);
}

Push MicroBatchPass::push_of_groups(const Slice& slice, std::span<const float> rewards) {
  Push all;
  for (const Portion& portion : slice.portions) {
    const Push push = push_of(context_.train, *portion.of, rewards.subspan(all.slopes.size(), portion.count));
    if (!std::isfinite(push.loss) && bad_group_.empty()) bad_group_ = std::string(context_.store.group(portion.of->group).id);
    all.loss += push.loss;
    std::ranges::copy(push.slopes, std::back_inserter(all.slopes));
  }
  return all;
}

std::pair<std::vector<double>, std::vector<float>> MicroBatchPass::pushes(const at::Tensor& states_RD) {
  at::Tensor rewards_R;  // a pass of portions alone needs none
  if (std::ranges::any_of(slices_, [](const Slice& slice) { return slice.known == nullptr; })) rewards_R = rewards_of(states_RD);
  std::vector<double> losses;
  std::vector<float> slopes;
  for (const Slice& slice : slices_) {
    const auto own = [&] {
      return std::span(rewards_R.const_data_ptr<float>() + slopes.size(), static_cast<std::size_t>(slice.rows.reads));
    };
    const Push push = slice.known != nullptr ? *slice.known : push_of_groups(slice, own());
    losses.push_back(push.loss);
    slopes.insert(slopes.end(), push.slopes.begin(), push.slopes.end());
  }
  return {losses, slopes};
}

}  // namespace dmoerm::train
