#include "run/store_sizes.h"

#include <algorithm>
#include <iterator>

#include "data/packed_batch.h"
#include "preference/group.h"

namespace dmoerm::run {
namespace {

train::Subset part_of(plan::Subset subset) {
  switch (subset) {
    case plan::Subset::phase1:
      return train::Subset::phase1;
    case plan::Subset::phase3:
      return train::Subset::phase3;
    case plan::Subset::validation:
      return train::Subset::validation;
    case plan::Subset::test:
      return train::Subset::test;
    default:
      return train::Subset::train;
  }
}

}  // namespace

plan::GroupSizes StoreSizes::overall(const std::string& category, plan::Subset subset) const {
  const bool trains = subset == plan::Subset::phase1 || subset == plan::Subset::train;
  return sizes_of(train::labelled_groups(store_, index_of(category), part_of(subset), preference::kOverall, config_,
                                         trains ? train::ties_of(config_.base) : preference::Ties::left_out));
}

plan::GroupSizes StoreSizes::labelled(const std::string& category, const std::string& point) const {
  return sizes_of(groups_of_point(index_of(category), train::Subset::phase1, point, train::ties_of(config_.experts.train)));
}

plan::GroupSizes StoreSizes::all_labels(const std::string& category, plan::Subset subset) const {
  const train::Subset part = part_of(subset);
  const preference::Ties ties = train::ties_of(config_.base);
  std::vector<train::LabelledGroup> all =
      train::labelled_groups(store_, index_of(category), part, preference::kOverall, config_, ties);
  for (const config::CategoryConfig& c : config_.categories) {
    if (!category.empty() && c.name != category) continue;
    for (const std::string& point : c.points)
      std::ranges::move(groups_of_point(index_of(c.name), part, point, ties), std::back_inserter(all));
  }
  return sizes_of(all);
}

std::vector<train::LabelledGroup> StoreSizes::groups_of_point(std::int32_t category, train::Subset subset,
                                                              const std::string& point, preference::Ties ties) const {
  return config_.labels.judges.empty() ? train::labelled_groups(store_, category, subset, point, config_, ties)
                                       : train::whole_groups(store_, category, subset, config_);
}

std::int32_t StoreSizes::index_of(const std::string& category) const {
  if (category.empty()) return -1;
  return static_cast<std::int32_t>(std::ranges::find(store_.categories(), category) - store_.categories().begin());
}

plan::GroupSizes StoreSizes::sizes_of(const std::vector<train::LabelledGroup>& groups) const {
  plan::GroupSizes sizes;
  sizes.groups = static_cast<double>(groups.size());
  for (const train::LabelledGroup& g : groups) {
    sizes.tokens +=
        static_cast<double>(data::packed_tokens(store_.group(g.group), g.responses, data::PackingRule::causal)) / sizes.groups;
    sizes.responses += static_cast<double>(g.responses.size()) / sizes.groups;
    sizes.plain_tokens +=
        static_cast<double>(data::packed_tokens(store_.group(g.group), g.responses, data::PackingRule::bidirectional)) /
        sizes.groups;
  }
  sizes.epoch_groups = static_cast<double>(train::epoch_groups(store_, groups));
  return sizes;
}

}  // namespace dmoerm::run
