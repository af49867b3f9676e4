// Learning curves: every training of one run, or the same model in several runs.
#pragma once
#include <string>
#include <vector>

#include "report/html.h"
#include "report/run_facts.h"

namespace dmoerm::report {

/// The section of a report. @param interactive  whether the page brings the chart library: charts then go beside a panel that
/// zooms
Section curves_section(const Run& run, bool interactive);

struct TitledRun {
  std::string title;
  const Run* run;
};
/// The section of a comparison: for each model of overall labels (the bases and the single model) its accuracy and loss on the
/// validation pairs by step, with a line for each run, whose colour is the same in every chart.
Section compared_curves_section(const std::vector<TitledRun>& runs);

}  // namespace dmoerm::report
