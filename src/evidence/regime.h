// Which overall labels an arm is trained on: of how many prompts, and how noisy.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "config/run_config.h"
#include "data/token_store.h"
#include "evidence/store_scores.h"
#include "preference/ordered_pairs.h"

namespace dmoerm::evidence {

/// Pairs of each group, in the order of a list of groups.
using PairLists = std::vector<std::vector<preference::Preference>>;

struct Regime {
  std::int64_t prompts = 80;  ///< Prompts of a category with overall labels; 0 = all
  std::string noise =
      "rater";  ///< "none"; "rater": one rater's label, else 30 % flipped; "flip30", "flip40": share of pairs turned round
  double point_noise = 0;   ///< Share of the capability pairs that are turned round
  std::int64_t scored = 0;  ///< Training prompts of a category that keep their capability labels; 0 = all
  /// What the experts learn from: the order of two scores; equal scores too, as with experts.train.ties: all; or the order
  /// with targets that are softer the closer two scores are, as with experts.train.soft_gaps = 1.
  enum class Taught { order, ties, soft } taught = Taught::order;

  /// Whether the overall labels are others with each seed.
  [[nodiscard]] bool draws_overall() const { return prompts > 0 || noise != "none"; }
  /// Whether the capability labels are others with each seed.
  [[nodiscard]] bool draws_points() const { return point_noise > 0 || scored > 0; }
  /// "80-rater", "all-none", "80-rater-points30", "80-rater-scored40", "80-rater-ties", "80-rater-soft"
  [[nodiscard]] std::string name() const;
};
/// @param option  what named it, for messages @throws ConfigError for a text that name() does not write
Regime regime_from(const std::string& name, const std::string& option = "--regimes");

/// Capability points of a category: what the configuration names, without the label of one rater.
std::vector<std::string> points_of(const config::CategoryConfig& category);

/// Pairs of one label with the category's gap, nothing turned round.
PairLists pairs_of(const data::TokenStore& store, const std::vector<std::int64_t>& groups, const config::CategoryConfig& category,
                   const std::string& label, preference::Ties ties = preference::Ties::left_out);
/// Whether two lengths differ by at most a tenth of the longer one.
bool equally_long(double a, double b);
/// The pairs of responses that are equally long.
PairLists of_equal_length(PairLists pairs, const data::TokenStore& store, const std::vector<std::int64_t>& groups);
/// The same with the target sigmoid(g / m) for a pair whose scores are g apart, where m is the mean gap of the pairs whose group
/// counts (`counting` has one value a group).
PairLists softened(PairLists pairs, const StoreScores& scores, const std::vector<std::int64_t>& groups, const std::string& label,
                   const std::vector<bool>& counting);
/// The same with a share of the pairs turned round, which a hash of seed, group and responses chooses.
PairLists flipped(PairLists pairs, const data::TokenStore& store, const std::vector<std::int64_t>& groups, double share,
                  std::uint64_t seed);
/// Empties the lists of all but so many of the groups that have pairs, by a hash of seed and group. @param prompts  0 = all
void keep_labelled(PairLists& pairs, const std::vector<std::int64_t>& groups, std::int64_t prompts, std::uint64_t seed);
/// Empties the lists of all points for all but so many of the groups that count and have a pair of any point, by a hash of seed
/// and group, which is another than that of keep_labelled(). @param counting  one value a group; lists of the others stay
/// @param prompts  0 = all
void keep_scored(std::map<std::string, PairLists>& points, const std::vector<std::int64_t>& groups,
                 const std::vector<bool>& counting, std::int64_t prompts, std::uint64_t seed);
/// Overall pairs as a regime gives them, of every group.
PairLists noisy_overall(const data::TokenStore& store, const StoreScores& scores, const std::vector<std::int64_t>& groups,
                        const config::CategoryConfig& category, const Regime& regime, std::uint64_t seed);

}  // namespace dmoerm::evidence
