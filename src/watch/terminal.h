// What is known of the terminal.
#pragma once

namespace dmoerm::watch {

struct TerminalSize {
  int columns = 100, lines = 24;
};
/// Of the terminal behind a file descriptor, else of the process's own, else what COLUMNS and LINES say.
TerminalSize terminal_size(int fd);

/// Whether what is written to stderr comes out on a terminal: directly, or through mpirun that passes it on (launch/dmoerm then
/// sets DMOERM_TERMINAL).
bool stderr_is_terminal();

}  // namespace dmoerm::watch
