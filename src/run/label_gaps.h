// Where the experts of a finished model are unsure: what `labels.pairs.choose: uncertain` goes by.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "config/run_config.h"
#include "label/targets.h"

namespace dmoerm::run {

/// Score every group that may be labelled with the experts of `labels.pairs.bundle`. @return by "label/<category>/<point>" the
/// gaps between the experts' standardised rewards. A point that the model has no expert for gets no gaps.
/// @throws DataError for a damaged bundle
std::map<std::string, label::Gaps> expert_gaps(const config::RunConfig& config, label::GroupFile& groups,
                                               const std::vector<label::Target>& targets);

}  // namespace dmoerm::run
