// The unit that training learns from: one response of a group is better than another, or both are equally good.
#pragma once
#include <cstdint>

namespace dmoerm::preference {

/// A preference between two responses of one group.
struct Preference {
  std::int32_t winner = 0, loser = 0;  ///< response indices
  float margin = 0.0F;                 ///< reward gap that training demands
  float target = 1.0F;                 ///< probability that the winner is better: below 1 only with soft labels, 0.5 for a tie
  [[nodiscard]] bool tie() const { return target == 0.5F; }  ///< then `winner` has the lower index
  bool operator==(const Preference&) const = default;
};

}  // namespace dmoerm::preference
