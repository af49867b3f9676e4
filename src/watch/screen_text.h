// The table of a run as text: what the screen and `dmoerm status` show.
#pragma once
#include <string>
#include <vector>

#include "watch/run_state.h"

namespace dmoerm::watch {

struct View {
  int width = 100;       ///< columns; no line is wider
  int height = 0;        ///< lines at most, at least 4; 0 = no limit
  double now = 0;        ///< seconds since 1970 by the first rank's clock
  bool colour = false;   ///< with ANSI colours
  double silent_s = 10;  ///< a rank not heard for longer is named
};

/// Two lines about the whole, then a line a task. If the tasks do not fit, those that need no eye on them are folded into a line
/// a category, then all into what fits. Names and messages come out without control characters. A pure function.
std::vector<std::string> screen_text(const RunState& state, const View& view);

}  // namespace dmoerm::watch
