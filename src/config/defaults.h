// Defaults of configuration keys that depend on other keys.
#pragma once
#include "config/run_config.h"

namespace dmoerm::config {

/// The recipe of arXiv 2403.01197 as far as it differs from this program's; keys that are given replace it.
void take_defaults_of_paper(RunConfig& config);

/// What is not given where the base is an adapter: its learning rate, and folds, which are known to pay
/// (docs/results/ablations.md) and cost adapters alone.
/// @param with_phase1_share  whether phase1_share is given, which folds would take from
void take_defaults_of_adapters(RunConfig& config, bool with_phase1_share);

}  // namespace dmoerm::config
