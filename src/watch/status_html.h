// A run as an HTML page.
#pragma once
#include <string>

#include "watch/run_state.h"

namespace dmoerm::watch {

/// The page as one document that loads nothing from elsewhere. Names and messages are escaped.
/// @param now      seconds since 1970 by the first rank's clock
/// @param every_s  seconds after which the browser loads the page again, kept between 2 and 3600
std::string status_html(const RunState& state, double now, double every_s);

}  // namespace dmoerm::watch
