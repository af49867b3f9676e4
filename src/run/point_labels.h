// The labels of a capability point that models train on.
#pragma once
#include <vector>

#include "label/point_verdicts.h"
#include "plan/task_id.h"
#include "run/run_context.h"

namespace dmoerm::run {

/// Labels of one point: the judges' of one round if the configuration names any, else those of the data.
class PointLabels {
 public:
  /// @param label  the task that labels the point; without judges only names it
  /// @throws IoError, DataError if the judges' verdicts cannot be read
  PointLabels(const RunContext& context, const plan::TaskId& label);

  /// The groups that a model trains on, with their pairs. @param train  that model's training
  /// @throws DataError if judges gave fewer pairs than experts.labels_min asks for (its share of the rounds before the last one,
  /// half of it outside of a fold)
  [[nodiscard]] std::vector<train::LabelledGroup> training(train::Part part, const config::TrainConfig& train) const;
  /// The groups of the validation split with their pairs; those of the data if the judges labelled none, with a warning.
  /// @throws DataError if there are none
  [[nodiscard]] std::vector<train::LabelledGroup> validation() const;

  /// The groups of the validation split with their pairs, for an expert that is not trained; those of the data if the judges
  /// labelled none, and none if there are none.
  [[nodiscard]] std::vector<train::LabelledGroup> measured_on() const;

 private:
  [[nodiscard]] bool judged() const { return !context_.config().labels.judges.empty(); }
  [[nodiscard]] std::vector<train::LabelledGroup> of_data(train::Part part, preference::Ties ties) const;
  [[nodiscard]] std::vector<train::LabelledGroup> of_judges(train::Part part, preference::Ties ties) const;
  void need_pairs(const std::vector<train::LabelledGroup>& groups, train::Part part) const;

  const RunContext& context_;
  plan::TaskId label_;
  std::int32_t category_;
  std::vector<label::JudgedGroup> verdicts_;
};

}  // namespace dmoerm::run
