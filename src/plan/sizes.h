// The numbers that a run's graph needs of the data.
#pragma once
#include <string>

#include "config/run_config.h"

namespace dmoerm::plan {

/// The share of a group's tokens that its prompt has, about: what the router reads.
constexpr double kPromptShare = 0.5;

/// Groups of one kind: how many there are, and their mean length in the packed batch.
struct GroupSizes {
  double groups = 0;
  double tokens = 0;        ///< Tokens of a group with its prompt laid out once
  double plain_tokens = 0;  ///< Tokens of a group with the prompt before every response (encoders); 0 = not known
  double epoch_groups = 0;  ///< Groups that one epoch visits: weights of input files repeat them
  double responses = 0;     ///< Responses of a group
};

/// Groups of a category by what they are used for. The train split is divided: phases 1 and 2 learn from one part, phase 3 from
/// the other; with folds all groups serve all phases.
enum class Subset { phase1, phase3, train, validation, test };

/// The numbers that a graph needs of the data: counted in a token store, or stated where there is none.
class Sizes {
 public:
  virtual ~Sizes() = default;
  /// Groups with an overall preference. @param category  empty: all categories
  [[nodiscard]] virtual GroupSizes overall(const std::string& category, Subset subset) const = 0;
  /// Groups of phase 1 that teach a point. Where judges will label, nobody knows how many that will be: all of phase 1.
  [[nodiscard]] virtual GroupSizes labelled(const std::string& category, const std::string& point) const = 0;
  /// Groups of a subset of the train split by what phase 1 may learn from: overall preferences and the labels of all points
  /// together. A group counts once for each label that it has, or may get from judges. @param category  empty: all categories
  [[nodiscard]] virtual GroupSizes all_labels(const std::string& category, Subset subset) const = 0;
};

/// Numbers that a plan without data states.
struct StatedNumbers {
  double groups_per_category = 5000;  ///< Train groups
  double tokens_per_group = 1000;     ///< Tokens of the prompt, once, and of all responses
  double labels_per_point = 0;        ///< Train groups of phase 1 that are labelled for a point; 0 = all
  double responses_per_group = 4;
};

class StatedSizes final : public Sizes {
 public:
  StatedSizes(const config::RunConfig& config, const StatedNumbers& numbers) : config_(config), numbers_(numbers) {}
  [[nodiscard]] GroupSizes overall(const std::string& category, Subset subset) const override;
  [[nodiscard]] GroupSizes labelled(const std::string& category, const std::string& point) const override;
  [[nodiscard]] GroupSizes all_labels(const std::string& category, Subset subset) const override;

 private:
  [[nodiscard]] GroupSizes groups(double count) const;
  /// How many of some train groups are labelled for a point.
  [[nodiscard]] double of_point(double all) const;
  const config::RunConfig& config_;
  const StatedNumbers& numbers_;
};

}  // namespace dmoerm::plan
