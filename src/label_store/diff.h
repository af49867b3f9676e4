// Compares two label stores: `dmoerm label-store diff`.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "label_store/reader.h"

namespace dmoerm::label_store {

/// A key on which the two stores differ.
struct DiffRow {
  Digest key{};
  std::string category, point, judge;
  std::optional<Verdict> a, b;  ///< Verdict in each store; nothing if it does not have the key
};

struct StoreDiff {
  std::int64_t same = 0, only_a = 0, only_b = 0, differing = 0;  ///< Counts of keys
  std::vector<DiffRow> rows;                                     ///< In the order of their keys
  [[nodiscard]] bool equal() const { return rows.empty(); }
};

/// Compare the verdict of the latest label of every key in the sealed segments.
StoreDiff diff_stores(const LabelReader& a, const LabelReader& b);

/// Text for people: a line with the counts and, if wanted, one for each key. @param a, b  names of the stores
std::string diff_text(const StoreDiff& diff, const std::string& a, const std::string& b, bool with_keys);

}  // namespace dmoerm::label_store
