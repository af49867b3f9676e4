// Reads lists of responses with gold scores, for best-of-n.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "eval/item.h"

namespace dmoerm::eval {

/// One list a line: a row of a data format with scores; or any row with a list of texts or objects under "answers", "responses"
/// or "completions" and its scores beside it (lists of one number for each text) or in the objects. Equal texts stay apart. In
/// formats with a row for each response a list is a prompt, and equal texts are one, as GroupReader has it. All numbers of the
/// responses are read into Item::scores by their keys; responses without a gold score, as with null, are left out.
/// @param gold  key of the gold scores: "overall", a point, or a key of the row
/// @param smallest  lists with fewer responses are left out; 2 or more
/// @param split  as of take_split(); lists of other splits need no gold scores
/// @param fields  further keys whose values must be numbers or null, as those of the gold scores
/// @throws DataError naming the row and what it has instead; IoError
Data read_lists(const std::vector<std::string>& files, const std::string& gold, std::int64_t smallest,
                const std::string& split = "", std::vector<std::string> fields = {});

}  // namespace dmoerm::eval
