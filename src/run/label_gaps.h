// Finds where experts are unsure: those of a finished model, or those of a round of labelling, for `labels.pairs.choose:
// uncertain`.
#pragma once
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "config/run_config.h"
#include "label/targets.h"

namespace dmoerm::run {

/// Score every group that is to be labelled (see groups_read()) with the experts of `labels.pairs.bundle`. @return the gaps
/// between the experts' standardised rewards by "<category>/<point>". A point without an expert in the model gets no gaps.
/// @throws DataError for a damaged bundle
std::map<std::string, label::Gaps> expert_gaps(const config::RunConfig& config, label::GroupFile& groups,
                                               const std::vector<label::Target>& targets, const std::vector<bool>& read);

/// The gaps between what the expert of a point made of each group's responses, from the file of a task of kind "gaps".
/// @throws DataError, IoError
label::Gaps gaps_of_round(const std::filesystem::path& file, const std::string& point, label::GroupFile& groups,
                          const std::vector<bool>& read);

}  // namespace dmoerm::run
