#include "eval/ablations.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <iterator>
#include <optional>

namespace dmoerm::eval {
namespace {

/// Where the contributions of a category have those of a point, or of the base; nothing if there are none.
/// @param point  nullptr: the base
std::optional<std::size_t> contribution_of(const moe::Category& category, const std::string* point) {
  if (!category.aggregator.adds_up()) return std::nullopt;
  if (point == nullptr) return category.aggregator.reads_base() ? std::optional(category.points.size()) : std::nullopt;
  const auto found = std::ranges::find(category.points, *point);
  if (found == category.points.end()) return std::nullopt;
  return static_cast<std::size_t>(found - category.points.begin());
}

/// The sum of the other contributions, which is exactly the same for all responses where there are none.
double sum_without(const std::vector<double>& contributions, std::size_t place) {
  double sum = 0;
  for (std::size_t i = 0; i < contributions.size(); ++i) sum += i == place ? 0 : contributions[i];
  return sum;
}

}  // namespace

Ablations::Ablations(const moe::Model& model) : model_(model) {
  bool reads_base = false;
  for (const moe::Category& category : model.categories) {
    if (!category.aggregator.adds_up()) continue;
    reads_base = reads_base || category.aggregator.reads_base();
    std::ranges::copy_if(category.points, std::back_inserter(parts_),
                         [&](const std::string& point) { return std::ranges::find(parts_, point) == parts_.end(); });
  }
  points_ = parts_.size();
  if (!reads_base) return;
  const bool taken = std::ranges::find(parts_, "base") != parts_.end();
  parts_.emplace_back(taken ? "base-reward" : "base");  // a point may be called base
}

std::vector<double> Ablations::scores_without(std::size_t part, const moe::GroupScore& scored) const {
  const std::string* point = part < points_ ? &parts_[part] : nullptr;
  std::optional<std::size_t> in_first, in_second;
  double offset = 0;  // of the second category's rewards where nothing adds to them
  if (!scored.category.empty()) in_first = contribution_of(model_.category(scored.category), point);
  if (scored.route.second >= 0) {
    const moe::Category& second = model_.categories[static_cast<std::size_t>(scored.route.second)];
    in_second = contribution_of(second, point);
    offset = scored.route.second_share * moe::at_scale_of(model_.category(scored.category).stats, 0, second.stats);
  }
  std::vector<double> scores;
  for (const moe::Score& s : scored.responses) {
    const double mixed_in = s.second.value_or(0);
    const double first = in_first ? sum_without(s.contributions, *in_first) : s.reward - mixed_in;
    const double second = in_second ? offset + sum_without(s.second_contributions, *in_second) : mixed_in;
    scores.push_back(in_first || in_second ? first + second : s.reward);
  }
  return scores;
}

std::string Ablations::note() const {
  std::vector<std::string> whole;
  for (const moe::Category& category : model_.categories) {
    if (!category.aggregator.adds_up()) whole.push_back(fmt::format("{} ({})", category.name, category.aggregator.kind()));
  }
  if (whole.empty()) return "";
  return fmt::format(
      "nothing could be taken out of the rewards of {}, whose aggregators are no sums of what the experts add. There the models "
      "without a part score as the bundle itself; points of these categories alone have no such model",
      fmt::join(whole, ", "));
}

}  // namespace dmoerm::eval
