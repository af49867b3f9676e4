// The size of the terminal, and whether there is one.
#pragma once

namespace dmoerm::watch {

struct TerminalSize {
  int columns = 100, lines = 24;
};
/// The size of the terminal behind a file descriptor, otherwise of the process's own terminal, otherwise by COLUMNS and LINES.
TerminalSize terminal_size(int fd);

/// Whether stderr ends on a terminal, either directly or through mpirun (launch/dmoerm sets DMOERM_TERMINAL in that case).
bool stderr_is_terminal();

}  // namespace dmoerm::watch
