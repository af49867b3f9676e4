// The sections of a report about accuracy, the experts' correlations, calibration and length. One that has nothing to show says
// why.
#pragma once
#include "report/accuracies.h"
#include "report/html.h"
#include "report/run_facts.h"

namespace dmoerm::report {

Section accuracy_section(const Run& run, const Accuracies& accuracies);
Section correlations_section(const Run& run);
Section calibration_section(const Run& run);
Section length_section(const Run& run);

}  // namespace dmoerm::report
