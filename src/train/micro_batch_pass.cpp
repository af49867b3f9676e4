#include "train/micro_batch_pass.h"

#include <ATen/ops/mv.h>
#include <ATen/ops/outer.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros_like.h>

#include <cmath>
#include <span>

#include "base/rng.h"
#include "nn/pairwise_loss.h"

namespace dmoerm::train {

void MicroBatchPass::add(TraineeState& trainee, const std::vector<const LabelledGroup*>& step_groups,
                         const std::vector<std::size_t>& chosen) {
  const nn::Backbone& backbone = trainee.model().backbone();
  Slice slice{&trainee, {}, {}};
  slice.rows.adapter = trainee.model().adapter();
  slice.rows.first_row = batch_.tokens();
  slice.rows.first_read = static_cast<std::int64_t>(batch_.responses.size());
  for (const std::size_t i : chosen) {
    data::append_group(batch_, context_.store.group(step_groups[i]->group), step_groups[i]->responses, backbone.shares_prefix(),
                       backbone.reads_last());
    slice.groups.push_back(step_groups[i]);
  }
  slice.rows.rows = batch_.tokens() - slice.rows.first_row;
  slice.rows.reads = static_cast<std::int64_t>(batch_.responses.size()) - slice.rows.first_read;
  slice.rows.dropout_key =
      Rng(context_.seed, "dropout/" + trainee.name(), static_cast<std::uint64_t>(step_ * 4096 + number_)).next() | 1;
  slices_.push_back(std::move(slice));
}

void MicroBatchPass::run() {
  const nn::Backbone& backbone = slices_.front().trainee->model().backbone();
  std::vector<nn::AdapterRows> rows;
  nn::BackboneGradients sinks;
  for (Slice& slice : slices_) {
    rows.push_back(slice.rows);
    slice.trainee->begin_micro_batch(sinks);
  }
  nn::ForwardState keep;
  keep.recompute = context_.train.gradient_checkpointing;
  const at::Tensor states_RD = backbone.forward(batch_, rows, &keep, trunk());
  const at::Tensor grad_RD = at::zeros_like(states_RD);
  std::vector<double> losses;
  for (Slice& slice : slices_)
    losses.push_back(head_pass(slice, states_RD.narrow(0, slice.rows.first_read, slice.rows.reads),
                               grad_RD.narrow(0, slice.rows.first_read, slice.rows.reads)));
  backbone.backward(grad_RD, keep, sinks);
  for (std::size_t i = 0; i < slices_.size(); ++i) slices_[i].trainee->end_micro_batch(losses[i]);
}

nn::Trunk MicroBatchPass::trunk() const {
  std::vector<const LabelledGroup*> groups;
  for (const Slice& slice : slices_) groups.insert(groups.end(), slice.groups.begin(), slice.groups.end());
  return context_.trunks.of(slices_.front().trainee->model().backbone(), slices_.front().trainee->model().adapter(),
                            context_.store, groups);
}

double MicroBatchPass::head_pass(Slice& slice, const at::Tensor& states_RD, const at::Tensor& grad_RD) {
  const at::Tensor& head_D = slice.trainee->model().head().w_D;
  const at::Tensor rewards = at::mv(states_RD, head_D).cpu();
  std::vector<float> push(static_cast<std::size_t>(rewards.numel()), 0.0F);
  const double scale = 1.0 / static_cast<double>(context_.train.groups_per_step);
  double loss = 0;
  std::size_t first = 0;
  for (const LabelledGroup* group : slice.groups) {
    const std::size_t n = group->responses.size();
    const std::span<const float> own(rewards.const_data_ptr<float>() + first, n);
    const std::span<float> slope(push.data() + first, n);
    const double group_loss = nn::pairwise_loss(own, group->pairs, scale, slope) +
                              nn::centring_loss(own, context_.train.center_rewards_coefficient, scale, slope);
    if (!std::isfinite(group_loss) && bad_group_.empty()) bad_group_ = std::string(context_.store.group(group->group).id);
    loss += group_loss;
    first += n;
  }
  const at::Tensor push_R = at::tensor(at::ArrayRef<float>(push)).to(states_RD.device());
  slice.trainee->gradients().head_D().add_(at::mv(states_RD.t(), push_R));
  grad_RD.copy_(at::outer(push_R, head_D));
  return loss;
}

}  // namespace dmoerm::train
