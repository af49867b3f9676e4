// A group as one line of JSON, in which ingest hands the selected groups and their texts to labelling.
#pragma once
#include <string>
#include <string_view>

#include "preference/group.h"

namespace dmoerm::preference {

/// The group as one line without a line end. Each byte of a text that is not valid UTF-8 becomes U+FFFD.
std::string to_json_line(const Group& group);
/// The group that to_json_line() wrote. @throws DataError if the line is not such a group
Group group_from_json_line(std::string_view line);

}  // namespace dmoerm::preference
