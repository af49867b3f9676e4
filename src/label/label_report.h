// What a labelling came to, for people: outcomes, position bias, agreement with the data's own labels, cost; and the dry run's
// table.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "label/labeller.h"
#include "label/point_verdicts.h"

namespace dmoerm::label {

/// Markdown page with one table of outcomes and bias, one of agreement, what was asked and what it cost, and a note for each
/// point that has no verdicts.
std::string report_page(const std::vector<PointVerdicts>& points, const judge::Usage& spent, const std::string& currency);
/// The same numbers.
nlohmann::json report_json(const std::vector<PointVerdicts>& points, const judge::Usage& spent, const std::string& currency);

/// Table of a dry run: by point requests, what is known already, tokens, the most it can cost.
std::string estimate_table(const std::vector<PointEstimate>& estimates, const std::string& currency,
                           const std::string& counted_with);

}  // namespace dmoerm::label
