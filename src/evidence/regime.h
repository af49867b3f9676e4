// Which overall labels an arm is trained on: of how many prompts, and how noisy.
#pragma once
#include <cstdint>
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
  double point_noise = 0;  ///< Share of the capability pairs that are turned round
  bool ties = false;       ///< Whether the experts also learn from equal scores, as experts.train.ties does

  [[nodiscard]] std::string name() const;  ///< "80-rater", "all-none", "80-rater-points30", "80-rater-ties"
};
/// @throws ConfigError for a text that name() does not write
Regime regime_from(const std::string& name);

/// Capability points of a category: what the configuration names, without the label of one rater.
std::vector<std::string> points_of(const config::CategoryConfig& category);

/// Pairs of one label with the category's gap, nothing turned round.
PairLists pairs_of(const data::TokenStore& store, const std::vector<std::int64_t>& groups, const config::CategoryConfig& category,
                   const std::string& label, preference::Ties ties = preference::Ties::left_out);
/// The pairs of responses whose lengths differ by at most a tenth of the longer one.
PairLists of_equal_length(PairLists pairs, const data::TokenStore& store, const std::vector<std::int64_t>& groups);
/// The same with a share of the pairs turned round, which a hash of seed, group and responses chooses.
PairLists flipped(PairLists pairs, const data::TokenStore& store, const std::vector<std::int64_t>& groups, double share,
                  std::uint64_t seed);
/// Overall pairs as a regime gives them, of every group.
PairLists noisy_overall(const data::TokenStore& store, const StoreScores& scores, const std::vector<std::int64_t>& groups,
                        const config::CategoryConfig& category, const Regime& regime, std::uint64_t seed);

}  // namespace dmoerm::evidence
