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
#include "train/reward_trainer.h"

namespace dmoerm::train {

class Course {
 public:
  Course(Trainee& trainee, const TrainerContext& context);

  [[nodiscard]] const std::string& name() const { return trainee_.name; }
  [[nodiscard]] bool active() const { return active_; }
  [[nodiscard]] std::int64_t steps_total() const { return steps_total_; }
  [[nodiscard]] const Trainee& trainee() const { return trainee_; }
  [[nodiscard]] std::vector<at::Tensor>& gradients() { return gradients_; }
  [[nodiscard]] model::Expert* gradient_expert() { return &gradient_expert_; }
  [[nodiscard]] model::Weights* gradient_weights() { return gradient_weights_.get(); }
  [[nodiscard]] const model::Expert* adapter() const { return trainee_.trains_all ? nullptr : trainee_.expert.get(); }
  /// Multiplications and additions of training on one token: two for each weight of a matrix that it passes, forward; as many for
  /// the gradient in the states, and again for that in the weights if they are trained. Attention's own products are left out.
  [[nodiscard]] double flops_per_token() const;
  [[nodiscard]] const nlohmann::json& history() const { return history_; }

  /// The groups of one step.
  std::vector<const LabelledGroup*> groups_of_step(std::int64_t step, std::int64_t count);
  /// One optimizer step on gradients(). Fails the course if they are not finite.
  void update(const TrainerContext& context, std::int64_t step);
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
  /// Put the best weights back and report.
  TrainOutcome finish(std::int64_t tokens, double seconds, double peak_mib);

  /// Into and out of a checkpoint. @param prefix  of its tensors' names
  void write(Checkpoint& checkpoint, const std::string& prefix) const;
  void read(const CheckpointReader& checkpoint, const nlohmann::json& state, const std::string& prefix);

 private:
  [[nodiscard]] std::vector<std::pair<const char*, const std::vector<at::Tensor>*>> slots() const;

  Trainee& trainee_;
  std::vector<LabelledGroup> validation_;
  GroupOrder order_;
  std::int64_t steps_total_;
  model::Expert gradient_expert_;
  std::unique_ptr<model::Weights> gradient_weights_;
  std::vector<at::Tensor> parameters_, gradients_, best_;
  std::unique_ptr<AdamW> optimizer_;
  TrainOutcome outcome_;
  bool active_ = true;
  std::int64_t waited_ = 0, failed_step_ = 0;
  double lowest_loss_ = std::numeric_limits<double>::max();
  double last_norm_ = 0;
  nlohmann::json history_ = nlohmann::json::array();
};

}  // namespace dmoerm::train
