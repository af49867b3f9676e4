// Finds where the experts of a finished model are unsure, for `labels.pairs.choose: uncertain`.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "config/run_config.h"
#include "label/targets.h"

namespace dmoerm::run {

/// Score every group that is to be labelled (see groups_read()) with the experts of `labels.pairs.bundle`. @return the gaps
/// between the experts' standardised rewards by "label/<category>/<point>". A point without an expert in the model gets no gaps.
/// @throws DataError for a damaged bundle
std::map<std::string, label::Gaps> expert_gaps(const config::RunConfig& config, label::GroupFile& groups,
                                               const std::vector<label::Target>& targets, const std::vector<bool>& read);

}  // namespace dmoerm::run
