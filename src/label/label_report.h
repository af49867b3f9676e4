// Reports on a labelling: outcomes, position bias, agreement with the data's own labels, cost; and the dry run's table.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "label/budget.h"
#include "label/estimate.h"
#include "label/point_verdicts.h"

namespace dmoerm::label {

/// Markdown page with a table of outcomes and bias, one of agreement, one of what was asked, the cost, and a note for each point
/// without verdicts. @param priced  whether a price is set for some judge  @param notes  LabelProgress::notes of the run that
/// just ended
std::string report_page(const std::vector<PointVerdicts>& points, const judge::Usage& spent, const std::string& currency,
                        bool priced, const std::vector<std::string>& notes = {});
/// The same numbers as JSON.
nlohmann::json report_json(const std::vector<PointVerdicts>& points, const judge::Usage& spent, const std::string& currency);

/// Table of a dry run: by point the requests, those answered already, tokens, and the most that they can cost.
/// @param without_price  models of the judges whose cost is not known
std::string estimate_table(const std::vector<PointEstimate>& estimates, const std::string& currency,
                           const std::string& counted_with, const std::vector<std::string>& without_price = {});

}  // namespace dmoerm::label
