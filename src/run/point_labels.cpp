#include "run/point_labels.h"

#include <fmt/format.h>

#include "base/error.h"
#include "base/log.h"
#include "plan/graph_builder.h"
#include "run/check_labels.h"

namespace dmoerm::run {
namespace {

/// The fewest pairs of a point that a model trains on. Before the last round it is the share of labels.rounds that has been
/// labelled.
std::int64_t labels_min(const config::RunConfig& config, std::int32_t round, std::int32_t fold) {
  const int rounds = plan::label_rounds(config);
  const std::int64_t all = config.experts.labels_min, least = round == 0 ? all : (all * round + rounds - 1) / rounds;
  return fold > 0 ? labels_min_of_fold(least) : least;
}

}  // namespace

PointLabels::PointLabels(const RunContext& context, const plan::TaskId& label)
    : context_(context), label_(label), category_(context.category_index(label)) {
  if (judged()) verdicts_ = label::read_judged_groups(context.directory().task(label) / "verdicts.jsonl");
}

std::vector<train::LabelledGroup> PointLabels::training(train::Part part, const config::TrainConfig& train) const {
  const preference::Ties ties = train::ties_of(train);
  if (!judged()) return of_data(part, ties);
  std::vector<train::LabelledGroup> groups = of_judges(part, ties);
  need_pairs(groups, part);
  return groups;
}

std::vector<train::LabelledGroup> PointLabels::validation() const {
  if (!judged()) return of_data(train::Subset::validation, preference::Ties::left_out);
  std::vector<train::LabelledGroup> groups = of_judges(train::Subset::validation, preference::Ties::left_out);
  if (!groups.empty()) return groups;
  spdlog::warn("[{}] the judges gave no verdict on the validation split: the data's own labels of it decide when to stop",
               label_.text());
  groups = of_data(train::Subset::validation, preference::Ties::left_out);
  if (groups.empty())
    throw DataError("no-validation-labels",
                    fmt::format("{}: no verdict on the validation split, which decides when to stop: add it to labels.splits",
                                label_.text()));
  return groups;
}

std::vector<train::LabelledGroup> PointLabels::measured_on() const {
  if (judged()) {
    std::vector<train::LabelledGroup> groups = of_judges(train::Subset::validation, preference::Ties::left_out);
    if (!groups.empty()) return groups;
  }
  return of_data(train::Subset::validation, preference::Ties::left_out);
}

std::vector<train::LabelledGroup> PointLabels::of_data(train::Part part, preference::Ties ties) const {
  return train::labelled_groups(context_.store(), category_, part, label_.points.front(), context_.config(), ties);
}

std::vector<train::LabelledGroup> PointLabels::of_judges(train::Part part, preference::Ties ties) const {
  const config::RunConfig& config = context_.config();
  return train::judged_groups(context_.store(), category_, part, verdicts_, config.labels.soft, config, ties);
}

void PointLabels::need_pairs(const std::vector<train::LabelledGroup>& groups, train::Part part) const {
  const config::RunConfig& config = context_.config();
  const std::int64_t pairs = train::count_pairs(groups), least = labels_min(config, label_.round, part.fold);
  if (pairs >= least) return;
  throw DataError("too-few-labels",
                  fmt::format("{}: {} pairs of {}{} have the same verdict in both orders, at least {} are needed "
                              "(experts.labels_min); label/report.md shows what the judges answered",
                              label_.text(), pairs, part.subset == train::Subset::phase1 ? "phase 1" : "the train split",
                              part.fold > 0 ? fmt::format(" outside of fold {} of {}", part.fold, config.folds) : "", least));
}

}  // namespace dmoerm::run
