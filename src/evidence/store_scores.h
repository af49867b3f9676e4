// Scores of a token store by group and response, which the store's own reader gives as pairs only.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string_view>
#include <vector>

#include "data/store_index.h"

namespace dmoerm::evidence {

class StoreScores {
 public:
  /// @throws what data::read_store() throws
  explicit StoreScores(const std::filesystem::path& store);

  /// Score of each response of a group under "overall" or a point of its category; NaN where it has none.
  [[nodiscard]] std::vector<double> of(std::int64_t group, std::string_view label) const;

 private:
  data::StoreAttributes attributes_;
  data::StoreColumns columns_;
  data::StoreIndex index_;
};

}  // namespace dmoerm::evidence
