#include "watch/terminal.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdlib>
#include <string_view>

namespace dmoerm::watch {
namespace {

bool ask(int fd, TerminalSize& size) {
  winsize found{};
  if (::ioctl(fd, TIOCGWINSZ, &found) != 0 || found.ws_col == 0 || found.ws_row == 0) return false;
  size = {found.ws_col, found.ws_row};
  return true;
}

int number_of(const char* variable, int otherwise) {
  const char* text = std::getenv(variable);
  const int number = text ? std::atoi(text) : 0;
  return number > 0 ? number : otherwise;
}

}  // namespace

TerminalSize terminal_size(int fd) {
  TerminalSize size;
  if (ask(fd, size)) return size;
  const int own = ::open("/dev/tty", O_RDONLY | O_NOCTTY | O_CLOEXEC);
  const bool found = own >= 0 && ask(own, size);
  if (own >= 0) ::close(own);
  if (!found) size = {number_of("COLUMNS", size.columns), number_of("LINES", size.lines)};
  return size;
}

bool stderr_is_terminal() {
  const char* passed_on = std::getenv("DMOERM_TERMINAL");
  return ::isatty(STDERR_FILENO) == 1 || (passed_on != nullptr && std::string_view(passed_on) == "1");
}

}  // namespace dmoerm::watch
