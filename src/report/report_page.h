// The report of a run: one HTML file that needs nothing else.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "report/run_facts.h"

namespace dmoerm::report {

/// What `dmoerm eval` has measured, to be shown too.
struct Evaluated {
  std::string folder;
  Part result;  ///< Its eval.json
};

/// Told how many parts of the work are done.
using OnPart = std::function<void(std::int64_t done, std::int64_t all)>;

/// @param evaluated  further measurements, each of which gets a section
/// @param chart_library  JavaScript of the library that draws the curves with zoom; "" = they are drawn as they would be printed
/// @param on_part  is called for each section
std::string report_page(const Run& run, const std::vector<Evaluated>& evaluated, const std::string& chart_library,
                        const OnPart& on_part = {});

/// The chart library that launch/setup.sh has put into DMOERM_HOME (default: .cache/dmoerm of the home directory); "" if it is
/// not there.
std::string chart_library();

}  // namespace dmoerm::report
