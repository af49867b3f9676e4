// A run as Prometheus metrics.
#pragma once
#include <string>

#include "watch/run_state.h"

namespace dmoerm::watch {

/// The metrics in Prometheus' text format. @param now  seconds since 1970 by the first rank's clock
std::string metrics_text(const RunState& state, double now);

}  // namespace dmoerm::watch
