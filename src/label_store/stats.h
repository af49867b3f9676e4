// What a label store holds and what it has cost: `dmoerm label-store stats`.
#pragma once
#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

#include "label_store/columns.h"
#include "label_store/store_lock.h"

namespace dmoerm::label_store {

struct PointStats : PointKey {
  std::int64_t labels = 0;                 ///< Keys, each counted by its latest label
  std::array<std::int64_t, 6> verdicts{};  ///< Keys by Verdict
  judge::Usage spent;                      ///< Cost of every label, superseded ones included
};

struct StoreStats {
  std::vector<PointStats> points;  ///< Ordered by category, point, judge, template
  std::int64_t segments = 0, bytes = 0;
  std::int64_t labels = 0;       ///< Sum over points
  judge::Usage spent;            ///< Sum over points
  std::optional<LockNote> lock;  ///< The writer, and how many labels are still in the journal and not counted here
};

/// Statistics of the sealed segments. @throws as LabelReader
StoreStats store_stats(const std::filesystem::path& directory);

}  // namespace dmoerm::label_store
