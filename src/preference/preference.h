// The unit that training learns from: one response of a group is better than another.
#pragma once
#include <cstdint>

namespace dmoerm::preference {

/// A preference between two responses of one group.
struct Preference {
  std::int32_t winner = 0, loser = 0;  ///< response indices
  float margin = 0.0F;                 ///< reward gap that training demands
  float target = 1.0F;                 ///< probability that the winner is better, above 0.5; below 1 only with soft labels
  bool operator==(const Preference&) const = default;
};

}  // namespace dmoerm::preference
