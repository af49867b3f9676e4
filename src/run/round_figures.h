// What a round of labelling added: its new verdicts, and how often they agree with the experts that chose the pairs.
#pragma once
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "label/point_verdicts.h"

namespace dmoerm::run {

/// {"new_pairs", "new_believed", "experts_agree"}: pairs that the round before had not; those with a believed verdict; and those
/// of them, among the pairs that have gaps, that the experts order as the judge does, with "compared", their number.
/// @param before  verdicts of the round before
/// @param gaps    file of the task of kind "gaps" by which the round's pairs were chosen
/// @throws DataError, IoError
nlohmann::json round_figures(const label::PointVerdicts& verdicts, const std::filesystem::path& before,
                             const std::filesystem::path& gaps);

}  // namespace dmoerm::run
