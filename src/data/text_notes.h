// Oddities of texts that are read all the same, but that their owner wants to hear of: they are trained on as they stand.
#pragma once
#include <string>
#include <vector>

#include "preference/group.h"

namespace dmoerm::data {

/// What is odd about a group's texts, each as the words of a note that counts rows; empty for most groups.
std::vector<std::string> text_notes(const preference::Group& group);

}  // namespace dmoerm::data
