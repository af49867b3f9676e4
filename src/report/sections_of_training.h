// The sections of a report about the router, learning curves, and the timeline of the ranks. One that has nothing to show says
// why.
#pragma once
#include "report/html.h"
#include "report/run_facts.h"

namespace dmoerm::report {

Section router_section(const Run& run);
/// @param interactive  whether the page brings the chart library: charts then go beside a panel that zooms
Section curves_section(const Run& run, bool interactive);
Section timeline_section(const Run& run);

}  // namespace dmoerm::report
