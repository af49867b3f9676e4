// What a label store holds and what it cost: `dmoerm labels stats`.
#pragma once
#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "label_store/columns.h"
#include "label_store/store_lock.h"

namespace dmoerm::label_store {

/// One category, point, judge and template.
struct PointStats {
  std::string category, point, judge, template_name;
  std::int64_t labels = 0;                 ///< keys, each counted by its latest label
  std::array<std::int64_t, 6> verdicts{};  ///< by Verdict
  judge::Usage spent;                      ///< of every request, superseded ones included
};

struct StoreStats {
  std::vector<PointStats> points;  ///< in the order of category, point, judge, template
  std::int64_t segments = 0, bytes = 0;
  std::int64_t labels = 0;       ///< sum over points
  judge::Usage spent;            ///< sum over points
  std::optional<LockNote> lock;  ///< who writes, and how many labels wait in the journal and are not counted here
};

/// Of the sealed segments. @throws as LabelReader
StoreStats store_stats(const std::filesystem::path& directory);

}  // namespace dmoerm::label_store
