// State of one trainee: its parameters, gradients, optimizer moments, order of groups, early stop, and best weights so far.
#pragma once
#include <ATen/core/Tensor.h>

#include <functional>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "nn/adamw.h"
#include "train/checkpoint.h"
#include "train/gradient_sums.h"
#include "train/group_scorer.h"
#include "train/trainee.h"

namespace dmoerm::train {

class TraineeState {
 public:
  TraineeState(Trainee& trainee, const TrainerContext& context);

  [[nodiscard]] const std::string& name() const { return trainee_.name; }
  [[nodiscard]] bool active() const { return active_; }
  [[nodiscard]] std::int64_t steps_total() const { return steps_total_; }
  [[nodiscard]] const nn::RewardModel& model() const { return trainee_.model; }
  /// The adapter in the backbone's type, for passes of a step; nullptr if there is none. It is made once, and lasts until
  /// update().
  const nn::LoraAdapter* adapter_of_step();
  /// The gradients of the current micro batch.
  [[nodiscard]] nn::RewardGradients& gradients() { return gradients_; }
  [[nodiscard]] GradientSums& sums() { return sums_; }
  /// Whether the ranks share moments, best weights and gradient sums. If so, each rank writes its shard of a checkpoint.
  [[nodiscard]] bool sharded() const { return sharded_; }
  [[nodiscard]] const nlohmann::json& history() const { return history_; }

  /// The groups of one step.
  std::vector<const LabelledGroup*> groups_of_step(std::int64_t step, std::int64_t count);
  /// Make the backward pass of a micro batch add to gradients(), and each slice to sums() as soon as it is complete.
  void begin_micro_batch(nn::BackboneGradients& sinks);
  /// Add the last slice of the gradients to sums(), with the loss. @param loss  sum over the micro batch's groups
  void end_micro_batch(double loss);
  /// Wait for the gradients of the sums() of some trainees. What update() must know of this rank's leaves the device in one copy.
  /// @return for each trainee the sums of squares of its blocks, and the loss
  static std::vector<std::vector<double>> measure(const std::vector<TraineeState*>& trainees);
  /// One optimizer step with those gradients. If they are not finite, the trainee fails on all ranks. Collective.
  /// @param measured  what measure() returned for this trainee
  /// @return sum of the loss over the step's groups
  double update(const TrainerContext& context, std::int64_t step, std::span<const double> measured);
  [[nodiscard]] bool evaluated_at(std::int64_t step) const { return !history_.empty() && history_.back().at("step") == step; }
  void fail(const std::string& why, std::int64_t step);
  /// Why the trainee failed; "" if it did not.
  [[nodiscard]] const std::string& failure() const { return outcome_.failure; }
  /// Make the trainee active again after a failure, from the step that failed.
  void try_again() {
    outcome_.failure.clear();
    active_ = true;
    resumes_at_ = failed_step_;
  }
  /// The step from which on the trainee trains; 0 unless it is tried again.
  [[nodiscard]] std::int64_t resumes_at() const { return resumes_at_; }
  [[nodiscard]] bool takes_part(std::int64_t step) const { return active_ && step >= resumes_at_; }
  /// Evaluate on the validation groups; keep the weights if they are the best so far, and stop when the patience is over. With
  /// TrainConfig::average_decay these weights are the average over the steps so far.
  void evaluate(const TrainerContext& context, std::int64_t step, double train_loss, double seconds);
  /// Bytes of weights, moments, best weights, average and gradients, and the most that their sums took so far.
  [[nodiscard]] std::int64_t state_bytes() const;
  /// Restore the best weights and return the outcome. Collective.
  TrainOutcome finish(std::int64_t tokens, double seconds, double peak_mib);

  /// Write this rank's share of the state to a checkpoint, and read it back, with any number of ranks.
  /// @param prefix  prefix of the tensors' names
  void write(Checkpoint& checkpoint, const std::string& prefix) const;
  void read(const CheckpointReader& checkpoint, const nlohmann::json& state, const std::string& prefix);

 private:
  /// Wait for the gradients of sums(), and keep this rank's. @return its loss, [1]; undefined if another rank has it
  at::Tensor take_sums();
  /// Figures of the weights, or of their average, on the validation groups. Keeps them if `better` says that they are the best so
  /// far.
  PairFigures measured_figures(const TrainerContext& context, const std::function<bool(const PairFigures&)>& better);
  /// Take the parameters into their average. @param step  number of the update, counted from 1
  void take_into_average(double decay, std::int64_t step);
  /// Exchange the parameters and their average, in this rank's chunks.
  void exchange_average();
  /// The tensors that a checkpoint keeps of each slice, by name.
  [[nodiscard]] std::vector<std::pair<const char*, const std::vector<at::Tensor>*>> slots() const;
  /// The range of this rank's elements in a slice.
  [[nodiscard]] std::pair<std::int64_t, std::int64_t> own_range(std::size_t slice) const;
  /// This rank's chunk of a slice's parameters.
  [[nodiscard]] at::Tensor own_of(std::size_t slice, const at::Tensor& whole) const;
  /// Send the chunks of a slice to all ranks, in place.
  [[nodiscard]] comm::Pending gather(std::size_t slice) const;
  /// Copy the new parameters_ into all ranks' models.
  void publish_parameters();
  /// The norm of all ranks' gradients. @param loss  this rank's; receives that of the rank that has it
  [[nodiscard]] double norm_of(std::span<const double> squares, double& loss) const;

  Trainee& trainee_;
  std::optional<nn::LoraAdapter> narrowed_;  ///< adapter_of_step(), if its type is not the adapter's own
  comm::Communicator& ranks_;
  std::vector<LabelledGroup> validation_;
  GroupOrder order_;
  std::int64_t steps_total_;
  nn::RewardGradients gradients_;
  std::vector<at::Tensor> whole_;  ///< The model's trained slices: those of the backbone if it is trained, then head or adapter
  bool sharded_;
  GradientSums sums_;  ///< Sums of the same slices, with the loss after the last
  /// This rank's chunks of the slices (whole slices unless sharded) in float32, and their best values so far. parameters_ views
  /// the model's own slice if that is float32, and is a master copy if it is bfloat16.
  std::vector<at::Tensor> parameters_, best_;
  std::vector<at::Tensor> average_;   ///< Average of parameters_ over the steps; empty if there is none
  std::vector<at::Tensor> measured_;  ///< This rank's gradients between measure() and update()
  std::unique_ptr<nn::AdamW> optimizer_;
  TrainOutcome outcome_;
  bool active_ = true;
  std::int64_t waited_ = 0, failed_step_ = 0, resumes_at_ = 0;
  double lowest_loss_ = std::numeric_limits<double>::max();
  double highest_accuracy_ = 0;
  double last_norm_ = 0;
  nlohmann::json history_ = nlohmann::json::array();
};

}  // namespace dmoerm::train
