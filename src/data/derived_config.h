// A configuration that is made of what the data hold.
#pragma once
#include <cstdint>
#include <string>

#include "data/data_summary.h"

namespace dmoerm::data {

struct DerivedConfigSettings {
  std::uint64_t seed = 17;         ///< Seed of the request, which drew the splits
  std::int64_t bad_lines_max = 0;  ///< as the request has it
  std::int64_t labelled_min = 20;  ///< prompts outside the test split with an ordered pair that a point needs
  bool evidence = false;           ///< Whether it is for launch/evidence.sh, which also learns from one rater's label
};

/// The configuration as YAML with comments: the files, and each category with its points and the gaps of its scores. A point with
/// too few labels, and a category without a point, stand in comments; for the experiment also one with too few overall labels.
/// @throws DataError if no category is left
std::string derived_config(const DataSummary& summary, const DerivedConfigSettings& settings);

}  // namespace dmoerm::data
