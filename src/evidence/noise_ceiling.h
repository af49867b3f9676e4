// How far single raters agree (inter-rater agreement, also called the noise ceiling). A model can exceed it: it is tested against
// the mean of all raters, which is less noisy than one rater.
#pragma once
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "config/run_config.h"
#include "data/token_store.h"

namespace dmoerm::evidence {

/// What the raters of one prompt gave under one label: [response][rater], NaN where a rater gave none. Lists may differ in
/// length.
using RaterScores = std::vector<std::vector<double>>;

/// A mean over prompts of the shares of pairs that two orders agree on.
struct Agreement {
  double share = 0;
  std::int64_t prompts = 0, pairs = 0;  ///< Those that have a share, and their pairs of responses
};

struct RaterAgreement {
  Agreement with_ties;     ///< One rater with another; a pair that one of them ties counts a half, one that both tie is left out
  Agreement without_ties;  ///< The same of pairs that neither ties
  Agreement with_others;   ///< One rater with the mean of all others; ties as in with_ties
};

/// Raters stand at the same place in each response's list: the first of two lists that differ in length are compared, and all
/// pairs of raters count equally within a prompt.
RaterAgreement rater_agreement(const std::vector<RaterScores>& prompts);

/// The agreement under one label of a category.
struct NoiseCeiling {
  std::string category, label;  ///< "overall" or a point
  RaterAgreement agreement;
  std::string why;  ///< Why there are no figures; else ""
  /// Of "overall": whether cells do not learn from one of these raters, as the configuration does not name `first_rater`
  bool first_rater_unnamed = false;
};

/// The overall label of each category of the configuration, and those of its points that single raters' scores are known of: over
/// the prompts of train and validation, or of the test split. A store keeps one rater's label at most, so the rows of the prompts
/// are read from their files, and equal responses are one, as in the store; where files have changed, cannot be read or have a
/// row that is no row of raters, `why` says so, and the other categories still have their figures.
std::vector<NoiseCeiling> noise_ceilings(const data::TokenStore& store, const config::RunConfig& config, bool test);

/// The section of the tables. @param figures  gets category -> label -> figures, or {why}
std::string noise_ceiling_section(const std::vector<NoiseCeiling>& ceilings, nlohmann::json& figures);

}  // namespace dmoerm::evidence
