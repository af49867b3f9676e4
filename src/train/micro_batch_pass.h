// One forward and backward pass of training, which several trainees over one backbone may share.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "data/packed_batch.h"
#include "nn/backbone.h"
#include "train/trainee_state.h"

namespace dmoerm::train {

/// Loss of some responses, and the slope of the step's loss in the reward of each.
struct Push {
  double loss = 0;
  std::vector<float> slopes;
};

/// The loss of one group and its slopes. @param rewards  those of all its responses
Push push_of(const config::TrainConfig& train, const LabelledGroup& group, std::span<const float> rewards);

/// The number of the dropout masks of a step's micro batch: no other micro batch of a training has it.
std::uint64_t dropout_draw(std::int64_t step, std::int64_t number);

/// Micro batch number `number` of each trainee that has one.
class MicroBatchPass {
 public:
  MicroBatchPass(const TrainerContext& context, std::int64_t step, std::int64_t number)
      : context_(context), step_(step), number_(number) {}

  /// Lay out a trainee's micro batch.
  /// @param known  the push of its responses if it is a portion of a group, whose loss needs the rewards of all portions; else
  /// null
  void add(TraineeState& trainee, const MicroBatch& portions, const Push* known);
  /// Compute the batch, and add gradients and loss to the sums of each trainee that was added.
  void run();
  /// Compute only the rewards of the batch, with the dropout masks that run() uses.
  [[nodiscard]] std::vector<float> rewards();

  /// Id of the first group whose loss is not finite; "" if there is none.
  [[nodiscard]] const std::string& bad_group() const { return bad_group_; }
  [[nodiscard]] std::int64_t tokens() const { return batch_.tokens(); }

 private:
  /// One trainee's rows of the batch.
  struct Slice {
    TraineeState* trainee;
    nn::AdapterRows rows;
    MicroBatch portions;
    const Push* known;
  };
  [[nodiscard]] std::vector<nn::AdapterRows> rows() const;
  /// States of all rows below the adapted layers, which are the same for every trainee.
  [[nodiscard]] nn::Trunk trunk() const;
  /// The rewards of all responses, [responses], float32, on the host: they leave the device in one copy.
  [[nodiscard]] at::Tensor rewards_of(const at::Tensor& states_RD) const;
  /// The loss of one trainee's whole groups and its slopes.
  Push push_of_groups(const Slice& slice, std::span<const float> rewards);
  /// The loss of each slice and all slopes, one for each response.
  std::pair<std::vector<double>, std::vector<float>> pushes(const at::Tensor& states_RD);

  const TrainerContext& context_;
  std::int64_t step_, number_;
  data::PackedBatch batch_;
  std::vector<Slice> slices_;
  std::string bad_group_;
};

}  // namespace dmoerm::train
