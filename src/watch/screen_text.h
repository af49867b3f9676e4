// The table of a run as text, which the screen and `dmoerm status` show.
#pragma once
#include <string>
#include <vector>

#include "watch/run_state.h"

namespace dmoerm::watch {

struct View {
  int width = 100;       ///< largest width of a line in columns
  int height = 0;        ///< largest number of lines, at least 4; 0 = no limit
  double now = 0;        ///< seconds since 1970 by the clock of the first rank
  bool colour = false;   ///< whether lines have ANSI colours
  double silent_s = 10;  ///< seconds of silence after which a rank is named
};

/// Two lines about the whole run, then a line per task. If the tasks do not fit, those that need no attention share a line per
/// category, and if that does not fit either, one line. Names and messages contain no control characters. A pure function.
std::vector<std::string> screen_text(const RunState& state, const View& view);

}  // namespace dmoerm::watch
