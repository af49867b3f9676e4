// One trainee under way: its parameters, gradients, moments, order, early stop, and the best weights so far.
#pragma once
#include <ATen/core/Tensor.h>

#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "train/adamw.h"
#include "train/checkpoint.h"
#include "train/gradient_sums.h"
#include "train/trainee.h"

namespace dmoerm::train {

class TraineeState {
 public:
  TraineeState(Trainee& trainee, const TrainerContext& context);

  [[nodiscard]] const std::string& name() const { return trainee_.name; }
  [[nodiscard]] bool active() const { return active_; }
  [[nodiscard]] std::int64_t steps_total() const { return steps_total_; }
  [[nodiscard]] const nn::RewardModel& model() const { return trainee_.model; }
  /// Gradients of the micro batch that is being computed.
  [[nodiscard]] nn::RewardGradients& gradients() { return gradients_; }
  [[nodiscard]] GradientSums& sums() { return sums_; }
  /// Whether moments, best weights and gradient sums are spread over the group: then each rank writes its part of a checkpoint.
  [[nodiscard]] bool sharded() const { return sharded_; }
  [[nodiscard]] const nlohmann::json& history() const { return history_; }

  /// The groups of one step.
  std::vector<const LabelledGroup*> groups_of_step(std::int64_t step, std::int64_t count);
  /// Have the backward pass of a micro batch add to gradients(), and hand each part on when it is complete.
  void begin_micro_batch(nn::BackboneGradients& sinks);
  /// Hand on what is left of the gradients. @param loss  summed over the micro batch's groups
  void end_micro_batch(double loss);
  /// One optimizer step on what sums() give. Fails the trainee on all ranks if they are not finite. Collective.
  /// @return the loss, summed over the step's groups
  double update(const TrainerContext& context, std::int64_t step);
  [[nodiscard]] bool evaluated_at(std::int64_t step) const { return !history_.empty() && history_.back().at("step") == step; }
  void fail(const std::string& why, std::int64_t step);
  /// What it failed of; "" if it did not.
  [[nodiscard]] const std::string& failure() const { return outcome_.failure; }
  /// Go on after a failure. @return the step that failed
  std::int64_t try_again() {
    outcome_.failure.clear(), active_ = true;
    return failed_step_;
  }
  /// Look at the validation groups; keep the weights if they are the best, stop if patience is over.
  void evaluate(const TrainerContext& context, std::int64_t step, double train_loss, double seconds);
  /// Bytes of weights, moments, best weights, gradients and the most their sums took so far.
  [[nodiscard]] std::int64_t state_bytes() const;
  /// Put the best weights back and report. Collective.
  TrainOutcome finish(std::int64_t tokens, double seconds, double peak_mib);

  /// Into and out of a checkpoint: what this rank holds of it. Ranks of another number go on from it.
  /// @param prefix  of its tensors' names
  void write(Checkpoint& checkpoint, const std::string& prefix) const;
  void read(const CheckpointReader& checkpoint, const nlohmann::json& state, const std::string& prefix);

 private:
  /// What is kept of each part.
  [[nodiscard]] std::vector<std::pair<const char*, const std::vector<at::Tensor>*>> slots() const;
  /// This rank's elements of a part.
  [[nodiscard]] std::pair<std::int64_t, std::int64_t> own_range(std::size_t part) const;
  /// This rank's chunk of a part's parameters.
  [[nodiscard]] at::Tensor own_of(std::size_t part, const at::Tensor& whole) const;
  /// Chunks of a part to all ranks, in place.
  [[nodiscard]] comm::Pending gather(std::size_t part) const;
  /// What was set in parameters_ to all ranks' models.
  void publish_parameters();
  [[nodiscard]] double norm_of(const std::vector<at::Tensor>& gradients, double& loss) const;

  Trainee& trainee_;
  comm::Communicator& group_;
  std::vector<LabelledGroup> validation_;
  GroupOrder order_;
  std::int64_t steps_total_;
  nn::RewardGradients gradients_;
  std::vector<at::Tensor> whole_;  ///< the model's: parts of the backbone if it is trained, then head or adapter
  bool sharded_;
  GradientSums sums_;  ///< of the same parts, the loss behind the last
  /// This rank's chunks of the parts, all of them unless sharded: what is trained, float32, and its best values so far. A part of
  /// the model that is float32 too is seen through parameters_; one in bfloat16 has a master copy there.
  std::vector<at::Tensor> parameters_, best_;
  std::unique_ptr<AdamW> optimizer_;
  TrainOutcome outcome_;
  bool active_ = true;
  std::int64_t waited_ = 0, failed_step_ = 0;
  double lowest_loss_ = std::numeric_limits<double>::max();
  double last_norm_ = 0;
  nlohmann::json history_ = nlohmann::json::array();
};

}  // namespace dmoerm::train
