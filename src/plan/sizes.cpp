#include "plan/sizes.h"

#include <algorithm>

namespace dmoerm::plan {

GroupSizes StatedSizes::groups(double count) const {
  return {count, numbers_.tokens_per_group, 0, count, numbers_.responses_per_group};
}

GroupSizes StatedSizes::overall(const std::string& category, Subset subset) const {
  const config::DataConfig& data = config_.data;
  const double all = numbers_.groups_per_category / std::max(0.1, 1 - data.validation_share - data.test_share);
  const double categories = category.empty() ? static_cast<double>(config_.categories.size()) : 1;
  if (config_.folds > 0 && (subset == Subset::phase1 || subset == Subset::phase3)) subset = Subset::train;
  switch (subset) {
    case Subset::phase1:
      return groups(categories * numbers_.groups_per_category * config_.phase1_share);
    case Subset::phase3:
      return groups(categories * numbers_.groups_per_category * (1 - config_.phase1_share));
    case Subset::validation:
      return groups(categories * all * data.validation_share);
    case Subset::test:
      return groups(categories * all * data.test_share);
    default:
      return groups(categories * numbers_.groups_per_category);
  }
}

GroupSizes StatedSizes::labelled(const std::string& category, const std::string& /*point*/) const {
  return groups(of_point(overall(category, Subset::phase1).groups));
}

GroupSizes StatedSizes::all_labels(const std::string& category, Subset subset) const {
  double count = 0;
  for (const config::CategoryConfig& c : config_.categories) {
    if (!category.empty() && c.name != category) continue;
    const double all = overall(c.name, subset).groups;
    count += all + static_cast<double>(c.points.size()) * of_point(all);
  }
  return groups(count);
}

double StatedSizes::of_point(double all) const {
  return numbers_.labels_per_point > 0 ? std::min(all, numbers_.labels_per_point) : all;
}

}  // namespace dmoerm::plan
