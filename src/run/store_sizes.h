// The numbers of a run's graph, counted in its token store.
#pragma once
#include "data/token_store.h"
#include "plan/graph_builder.h"
#include "train/training_set.h"

namespace dmoerm::run {

class StoreSizes final : public plan::Sizes {
 public:
  StoreSizes(const config::RunConfig& config, const data::TokenStore& store) : config_(config), store_(store) {}
  [[nodiscard]] plan::GroupSizes overall(const std::string& category, plan::Subset subset) const override;
  [[nodiscard]] plan::GroupSizes labelled(const std::string& category, const std::string& point) const override;
  [[nodiscard]] plan::GroupSizes all_labels(const std::string& category, plan::Subset subset) const override;

 private:
  /// @return -1 for "", all categories
  [[nodiscard]] std::int32_t index_of(const std::string& category) const;
  /// The groups that teach a point or may be labelled for it. @param ties  of the data's own labels
  [[nodiscard]] std::vector<train::LabelledGroup> groups_of_point(std::int32_t category, train::Subset subset,
                                                                  const std::string& point, preference::Ties ties) const;
  [[nodiscard]] plan::GroupSizes sizes_of(const std::vector<train::LabelledGroup>& groups) const;

  const config::RunConfig& config_;
  const data::TokenStore& store_;
};

}  // namespace dmoerm::run
