#include "run/unjudged_ties.h"

#include <algorithm>
#include <cstdint>

#include "plan/graph_builder.h"
#include "preference/group.h"
#include "train/training_set.h"

namespace dmoerm::run {

bool UnjudgedTies::left_out(const plan::TaskId& task) {
  return task.kind == plan::TaskKind::expert_set ? left_out_of_experts(task) : left_out_of_model(task);
}

bool UnjudgedTies::left_out_of_experts(const plan::TaskId& task) {
  if (config_.experts.train.ties != config::Ties::judged || !config_.labels.judges.empty()) return false;
  const auto category = std::ranges::find(config_.categories, task.category, &config::CategoryConfig::name);
  return std::ranges::any_of(
      task.points, [&](const std::string& point) { return category->imported(point).empty() && has(task.category, point); });
}

bool UnjudgedTies::left_out_of_model(const plan::TaskId& task) {
  if (config_.base.ties != config::Ties::judged) return false;
  if (has(task.category, std::string(preference::kOverall))) return true;
  if (!config_.labels.judges.empty()) return false;
  return std::ranges::any_of(plan::point_labels_of(config_, task),
                             [&](const plan::TaskId& label) { return has(label.category, label.points.front()); });
}

bool UnjudgedTies::has(const std::string& category, const std::string& label) {
  const auto [place, unknown] = known_.try_emplace({category, label});
  if (unknown) {
    const auto found = std::ranges::find(store_.categories(), category);
    const std::int32_t index = category.empty() ? -1 : static_cast<std::int32_t>(found - store_.categories().begin());
    place->second = train::has_unjudged_ties(store_, index, label, config_);
  }
  return place->second;
}

}  // namespace dmoerm::run
