// The sections of a report about data, labels, cost, checksums and configuration. One that has nothing to show says why.
#pragma once
#include "report/html.h"
#include "report/run_facts.h"

namespace dmoerm::report {

Section data_section(const Run& run);
Section labels_section(const Run& run);
Section cost_section(const Run& run);
Section checksums_section(const Run& run);
Section configuration_section(const Run& run);

}  // namespace dmoerm::report
