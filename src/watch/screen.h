// A block of lines at the bottom of a terminal, redrawn in place; log lines go above it.
#pragma once
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "watch/terminal.h"

namespace dmoerm::watch {

/// Each redraw is one write that overwrites the lines before it clears what is left, so nothing flickers; the cursor stays
/// visible, below the block, so there is nothing to restore after a kill. A terminal that takes nothing (stopped by Ctrl-S, gone)
/// holds nobody up: what is not shown is kept up to a bound. Thread safe.
class Screen {
 public:
  /// @param fd  of the terminal
  explicit Screen(int fd);
  /// Leaves the last block where it is.
  ~Screen();
  Screen(const Screen&) = delete;
  Screen& operator=(const Screen&) = delete;

  [[nodiscard]] TerminalSize size() const { return terminal_size(fd_); }
  /// Replace the block. @param lines  each narrower than the terminal, fewer than it has lines
  void show(std::vector<std::string> lines);
  /// Print above the block. @param text  whole lines
  void log(std::string_view text);

 private:
  void draw();
  bool send();
  int fd_;              ///< of its own, on which writing never waits
  std::string unsent_;  ///< rest of a redraw that the terminal has not taken
  std::mutex mutex_;
  std::vector<std::string> wanted_, drawn_;
  std::string pending_;  ///< log lines that are not printed yet
};

}  // namespace dmoerm::watch
