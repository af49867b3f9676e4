// Scores that another program wrote, one line of JSON for each group.
#pragma once
#include <string>

#include "eval/model_scores.h"

namespace dmoerm::eval {

/// Read {"id", "scores": [...]} lines, which `dmoerm score` writes too. They belong to the items with their ids; where no line
/// has an id, to the items in their order. Each has one score for each response of the row, in the row's order, also for equal
/// responses. Ids of no item are told.
/// @throws DataError naming the line or item that disagrees; IoError
ModelScores given_scores(const std::string& name, const std::string& file, const Data& data);

}  // namespace dmoerm::eval
