// The word lists of `dmoerm synth` and their expansion.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "base/rng.h"

namespace dmoerm::synth {

/// A random text of the rule `name`: one of its alternatives, in which each {rule} is expanded in turn and {topic} is replaced.
std::string expand(std::string_view name, std::string_view topic, Rng& rng);

/// One capability point: how much a category likes a feature.
struct SynthPoint {
  std::string_view name;
  std::string_view feature;  ///< a rule
  bool liked;                ///< false: fewer phrases are better
  double weight;             ///< in the overall score
};

struct SynthCategory {
  std::string_view name;
  std::string_view words;  ///< its rules are <words>_topic, _prompt, _core, _plain (a core without the topic)
  std::vector<SynthPoint> points;
};

/// All six categories; the first three are the default. Each feature that one of them likes another dislikes or ignores.
const std::vector<SynthCategory>& synth_categories();

/// The features of all categories: every response may carry them.
const std::vector<std::string_view>& synth_features();

}  // namespace dmoerm::synth
