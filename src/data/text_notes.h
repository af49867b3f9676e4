// Oddities of texts that are read all the same, but that their owner wants to hear of: they are trained on as they stand.
#pragma once
#include <string>
#include <vector>

#include "preference/group.h"

namespace dmoerm::data {

/// The note on Group::raters_alone.
inline constexpr const char* kRatersAloneNote =
    "rows with \"scores_raters\" of a point that has no \"scores\" and no verdicts in the row: they are no label of it; add the "
    "mean to \"scores\", or correct the name";

/// What is odd about a group's texts, each as the words of a note that counts rows; empty for most groups.
std::vector<std::string> text_notes(const preference::Group& group);

}  // namespace dmoerm::data
