// The word lists of `dmoerm synth`, and how they are expanded.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "base/rng.h"

namespace dmoerm::synth {

/// A random text of the rule `name`: one of its alternatives, in which each {rule} is expanded in turn and {topic} is replaced.
std::string expand(std::string_view name, std::string_view topic, Rng& rng);

/// One capability point, which says how much a category likes a feature.
struct SynthPoint {
  std::string_view name;
  std::string_view feature;  ///< name of the rule
  bool liked;                ///< whether more phrases are better
  double weight;             ///< weight in the overall score
};

struct SynthCategory {
  std::string_view name;
  std::string_view words;  ///< prefix of its rules <words>_topic, _prompt, _core, and _plain (a core without the topic)
  std::vector<SynthPoint> points;
};

/// All six categories, of which the first three are the default. For each feature that one category likes there is another that
/// dislikes or ignores it.
const std::vector<SynthCategory>& synth_categories();

/// The features of all categories. Every response may have any of them.
const std::vector<std::string_view>& synth_features();

}  // namespace dmoerm::synth
