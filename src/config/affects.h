// Which stages of a run have to be done again when a setting changes.
#pragma once
#include <string>

namespace dmoerm::config {

/// A set of stages. A stage's output reaches the later ones by its checksum, so a key names only the first stages that read it.
enum class Affects : unsigned {
  nothing = 0,
  groups = 1,       ///< which groups are read from the inputs, and their splits
  tokens = 2,       ///< how the token store holds them
  labels = 4,       ///< what the judges are asked, and how their votes count
  result = 8,       ///< what is trained and reported
  by_content = 16,  ///< not the setting decides, but what it resolves to: a file's checksum, a device
};

constexpr Affects operator|(Affects a, Affects b) {
  return static_cast<Affects>(static_cast<unsigned>(a) | static_cast<unsigned>(b));
}

/// Whether the two sets have a stage in common.
constexpr bool share_a_stage(Affects a, Affects b) {
  constexpr unsigned kStages = 15;
  return (static_cast<unsigned>(a) & static_cast<unsigned>(b) & kStages) != 0;
}

/// Whether what the setting resolves to stands in a stage's identity in its place.
constexpr bool by_content(Affects a) { return (static_cast<unsigned>(a) & static_cast<unsigned>(Affects::by_content)) != 0; }

/// The stages in words: "groups, result", "tokens (by content)", "nothing".
std::string describe_affects(Affects affects);

}  // namespace dmoerm::config
