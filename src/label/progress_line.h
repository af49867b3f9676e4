// Seeing a labelling: a live line with a bar on a terminal, one log line a minute otherwise.
#pragma once
#include <chrono>
#include <string>

#include "label/labeller.h"

namespace dmoerm::label {

class ProgressLine {
 public:
  /// @param terminal  redraw one line on stderr; else log a line each minute
  ProgressLine(std::string currency, bool terminal);
  /// Ends the line.
  ~ProgressLine();
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  /// Called often; shows what is due. @param last  show in any case
  void update(const LabelProgress& progress, bool last = false);

 private:
  using Clock = std::chrono::steady_clock;
  struct Rates {
    double requests = 0, tokens = 0;  ///< a second
  };
  Rates rates(const LabelProgress& progress, Clock::time_point now);

  std::string currency_;
  bool terminal_, drawn_ = false;
  Clock::time_point begun_ = Clock::now(), shown_ = begun_, measured_ = begun_;
  judge::Usage measured_run_;
  Rates rates_;
};

/// The line itself. @param width  of the terminal; 0: no bar
std::string progress_text(const LabelProgress& progress, const std::string& currency, double requests_per_s, double tokens_per_s,
                          int width);

}  // namespace dmoerm::label
