// A block of lines at the bottom of a terminal that is redrawn in place, with log lines above it.
#pragma once
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "watch/terminal.h"

namespace dmoerm::watch {

/// Each redraw is one write that overwrites the old lines and then clears what is left of them, so that nothing flickers. The
/// cursor stays visible below the block, so that a kill leaves nothing to restore. A terminal that accepts nothing (stopped by
/// Ctrl-S, or gone) does not block the caller; log lines are then kept up to a limit. Thread safe.
class Screen {
 public:
  /// @param fd  file descriptor of the terminal
  explicit Screen(int fd);
  /// Leaves the last block on the terminal.
  ~Screen();
  Screen(const Screen&) = delete;
  Screen& operator=(const Screen&) = delete;

  [[nodiscard]] TerminalSize size() const { return terminal_size(fd_); }
  /// Replace the block. @param lines  fewer lines than the terminal has, each narrower than it
  void show(std::vector<std::string> lines);
  /// Print text above the block. @param text  whole lines
  void log(std::string_view text);

 private:
  void draw();
  bool send();
  int fd_;              ///< descriptor of its own, on which writing does not block
  std::string unsent_;  ///< rest of a redraw that the terminal has not taken
  std::mutex mutex_;
  std::vector<std::string> wanted_, drawn_;
  std::string pending_;  ///< log lines that are not printed yet
};

}  // namespace dmoerm::watch
