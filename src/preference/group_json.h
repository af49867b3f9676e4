// A group as one line of JSON of our own: how selected groups are handed to what needs their texts again (labelling).
#pragma once
#include <string>
#include <string_view>

#include "preference/group.h"

namespace dmoerm::preference {

/// One line, no line end. Texts that are not UTF-8 get U+FFFD in the place of each bad byte.
std::string to_json_line(const Group& group);
/// The group that to_json_line() wrote. @throws DataError for anything else
Group group_from_json_line(std::string_view line);

}  // namespace dmoerm::preference
