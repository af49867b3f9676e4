// The sections of a report about the router and the timeline of the ranks. One that has nothing to show says
// why.
#pragma once
#include "report/html.h"
#include "report/run_facts.h"

namespace dmoerm::report {

Section router_section(const Run& run);
Section timeline_section(const Run& run);

}  // namespace dmoerm::report
