// Compares two label stores: `dmoerm labels diff`.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "label_store/reader.h"

namespace dmoerm::label_store {

/// A key that the two stores do not agree about.
struct DiffRow {
  Digest key{};
  std::string category, point, judge;
  std::optional<Verdict> a, b;  ///< nothing: the store does not know the key
};

struct StoreDiff {
  std::int64_t same = 0, only_a = 0, only_b = 0, differing = 0;  ///< keys
  std::vector<DiffRow> rows;                                     ///< in the order of their keys
  [[nodiscard]] bool equal() const { return rows.empty(); }
};

/// By the latest label of every key in the sealed segments; only verdicts are compared.
StoreDiff diff_stores(const LabelReader& a, const LabelReader& b);

/// For people: a line with the sums, then, if wanted, one for each key. @param a, b  what the stores are called
std::string diff_text(const StoreDiff& diff, const std::string& a, const std::string& b, bool with_keys);

}  // namespace dmoerm::label_store
