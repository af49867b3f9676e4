// What a configuration has labelled: its capability points, and the pairs that are asked about for each.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "config/run_config.h"
#include "label/pair_choice.h"
#include "label/point_questions.h"

namespace dmoerm::label {

/// Every point of every category, or those that `only` names ("category/point" or "category").
/// @throws ConfigError for a name that the configuration does not have
std::vector<Target> targets_of(const config::RunConfig& config, const std::vector<std::string>& only = {});

/// Reward gaps by group number of a GroupFile, for `choose: uncertain`.
using Gaps = std::map<std::size_t, GapTable>;

/// The pairs of a target to ask about, in the order to ask: group by group, or spread over the groups if pairs_max limits them.
/// @param read  whether verdicts on each group of the file are read; empty: on all of them
std::vector<GroupPairs> choose_pairs(const config::RunConfig& config, const GroupFile& groups, const Target& target,
                                     const Gaps& gaps = {}, const std::vector<bool>& read = {});

/// One of several rounds, counted from 1, in which the pairs of a target are chosen.
struct Round {
  int number = 1, of = 1;
};

/// The pairs that are asked about up to a round. All rounds together ask about as many as choose_pairs() does, each about an
/// equal share. The pairs of the round before stay; new ones of train groups are those with the smallest gaps, or drawn where
/// there are no gaps (the first round without a bundle). Pairs of other splits are drawn in every round, so that what decides
/// when to stop is a fair sample.
/// @param before  the pairs up to the round before
/// @param gaps    of the experts of the round before; those of other splits are not used
std::vector<GroupPairs> choose_pairs_of_round(const config::RunConfig& config, const GroupFile& groups, const Target& target,
                                              Round round, const std::vector<GroupPairs>& before, const Gaps& gaps,
                                              const std::vector<bool>& read);

}  // namespace dmoerm::label
