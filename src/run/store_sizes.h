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

 private:
  /// @return -1 for "", all categories
  [[nodiscard]] std::int32_t index_of(const std::string& category) const;
  [[nodiscard]] plan::GroupSizes sizes_of(const std::vector<train::LabelledGroup>& groups) const;

  const config::RunConfig& config_;
  const data::TokenStore& store_;
};

}  // namespace dmoerm::run
