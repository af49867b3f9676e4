// One forward and backward pass of training, which several trainees over one backbone may share.
#pragma once
#include <string>
#include <vector>

#include "data/packed_batch.h"
#include "nn/backbone.h"
#include "train/trainee_state.h"

namespace dmoerm::train {

/// Micro batch number `number` of each trainee that has one.
class MicroBatchPass {
 public:
  MicroBatchPass(const TrainerContext& context, std::int64_t step, std::int64_t number)
      : context_(context), step_(step), number_(number) {}

  /// Lay out a trainee's micro batch. @param chosen  indices into `step_groups`
  void add(TraineeState& trainee, const std::vector<const LabelledGroup*>& step_groups, const std::vector<std::size_t>& chosen);
  /// Compute the batch, and add gradients and loss to the sums of each trainee that was added.
  void run();

  /// Id of the first group whose loss is not finite; "" if there is none.
  [[nodiscard]] const std::string& bad_group() const { return bad_group_; }
  [[nodiscard]] std::int64_t tokens() const { return batch_.tokens(); }

 private:
  /// One trainee's rows of the batch.
  struct Slice {
    TraineeState* trainee;
    nn::AdapterRows rows;
    std::vector<const LabelledGroup*> groups;
  };
  /// States of all rows below the adapted layers, which are the same for every trainee.
  [[nodiscard]] nn::Trunk trunk() const;
  /// Compute the rewards of one trainee's responses, their loss, and its gradients in the head and the states. @return the loss
  double head_pass(Slice& slice, const at::Tensor& states_RD, const at::Tensor& grad_RD);

  const TrainerContext& context_;
  std::int64_t step_, number_;
  data::PackedBatch batch_;
  std::vector<Slice> slices_;
  std::string bad_group_;
};

}  // namespace dmoerm::train
