// Differences of two arms: those of DMoERM that were fixed beforehand, and those that --contrast names.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "evidence/averages.h"

namespace dmoerm::evidence {

/// One arm less another, over the main categories under a regime.
struct Contrast {
  std::string regime, arm, other;
  [[nodiscard]] std::string name() const { return regime + "/" + arm + ":" + other; }
};
/// "A:B", or "REGIME/A:B". @param primary  the regime where none is named
/// @throws ConfigError for another text, an arm that the experiment does not have, or the name of no regime
Contrast contrast_from(const std::string& text, const std::string& primary);
/// @param regimes  those that have cells or will get them @throws ConfigError if the regime is none of them
void expect_regime(const Contrast& contrast, const std::vector<std::string>& regimes);

/// DMoERM less each of the arms that it is compared with, as a table. @param figures  gets minus_single, ..., p_holm,
/// p_pooled_apart
std::string contrasts_of_method(const std::vector<const CategoryResult*>& categories, nlohmann::json& figures);

/// The contrasts that --contrast names, as a section; "" if there are none. Each is over those of the categories that have both
/// arms in every fold; where none has both, there is no difference and no category.
/// @param results  by regime  @param names  the main categories
/// @param figures  gets name -> {difference: [value, low, high], p, p_apart, categories}
/// @throws ConfigError for a regime without cells, or an arm that no category has under it
std::string contrasts_asked(const std::vector<Contrast>& asked, const std::map<std::string, Results>& results,
                            const std::vector<std::string>& names, nlohmann::json& figures);

}  // namespace dmoerm::evidence
