// Shows the progress of a labelling: a live line with a bar on a terminal, otherwise one log line a minute.
#pragma once
#include <string>

#include "base/progress.h"
#include "label/labeller.h"

namespace dmoerm::label {

class ProgressLine {
 public:
  /// @param terminal  whether to redraw one line on stderr; if not, a line is logged each minute
  ProgressLine(std::string currency, bool terminal);

  /// Show the progress if it is time to. Call it often. @param last  show it in any case
  void update(const LabelProgress& progress, bool last = false);

 private:
  using Clock = LiveLine::Clock;
  struct Rates {
    double requests = 0, tokens = 0;  ///< Rates per second
  };
  Rates rates(const LabelProgress& progress, Clock::time_point now);

  std::string currency_;
  LiveLine line_;
  Clock::time_point begun_ = Clock::now(), measured_ = begun_;
  judge::Usage measured_run_;
  Rates rates_;
};

/// Text of the line. @param width  width of the terminal; 0: no bar
std::string progress_text(const LabelProgress& progress, const std::string& currency, double requests_per_s, double tokens_per_s,
                          int width);

}  // namespace dmoerm::label
