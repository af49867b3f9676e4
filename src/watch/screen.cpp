#include "watch/screen.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "watch/text_cells.h"

namespace dmoerm::watch {
namespace {

constexpr std::size_t kPendingMax = 1 << 18;
constexpr int kPatienceMs = 200;  // longest wait for a slow terminal at the end
constexpr int kLastTries = 20;

/// Number of columns of a line with ANSI colours.
int shown_columns(std::string_view line) {
  std::string bare;
  for (std::size_t at = 0; at < line.size(); ++at) {
    if (line[at] == '\033')
      at = std::min(line.find('m', at), line.size());
    else
      bare += line[at];
  }
  return columns_of(bare);
}

/// Number of rows that lines take on a terminal that may have become narrower since they were drawn.
int rows_of(const std::vector<std::string>& lines, int columns) {
  int rows = 0;
  for (const std::string& line : lines) rows += std::max(1, (shown_columns(line) + columns - 1) / columns);
  return rows;
}

}  // namespace

Screen::Screen(int fd) {
  // The terminal is opened again, because O_NONBLOCK on the given descriptor would affect every process that shares it.
  fd_ = ::open(fmt::format("/proc/self/fd/{}", fd).c_str(), O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  if (fd_ < 0) fd_ = ::dup(fd);
}

Screen::~Screen() {
  {
    const std::lock_guard lock(mutex_);
    pollfd asked{fd_, POLLOUT, 0};
    for (int tries = 0; tries < kLastTries; ++tries) {
      draw();
      if (unsent_.empty() || ::poll(&asked, 1, kPatienceMs) != 1) break;
    }
  }
  ::close(fd_);
}

void Screen::show(std::vector<std::string> lines) {
  const std::lock_guard lock(mutex_);
  wanted_ = std::move(lines);
  draw();
}

void Screen::log(std::string_view text) {
  const std::lock_guard lock(mutex_);
  pending_ += text;
  if (pending_.size() > kPendingMax) {  // drop the oldest lines
    const std::size_t end = pending_.find('\n', pending_.size() - kPendingMax);
    pending_.erase(0, end == std::string::npos ? pending_.size() : end + 1);
  }
  draw();
}

/// Write unsent_. @return false if the terminal did not take all of it now
bool Screen::send() {
  while (!unsent_.empty()) {
    const ssize_t put = ::write(fd_, unsent_.data(), unsent_.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0 && errno == EAGAIN) return false;
    if (put <= 0)
      unsent_.clear();  // the terminal is gone
    else
      unsent_.erase(0, static_cast<std::size_t>(put));
  }
  return true;
}

void Screen::draw() {
  if (!send()) return;
  const std::string above = std::exchange(pending_, "");
  std::string text;
  if (const int rows = rows_of(drawn_, size().columns); rows > 0) text = fmt::format("\r\033[{}A", rows);
  for (std::size_t at = 0, end = 0; at < above.size(); at = end + 1) {
    end = std::min(above.find('\n', at), above.size());
    text += above.substr(at, end - at) + "\033[K\n";
  }
  for (const std::string& line : wanted_) text += line + "\033[K\n";
  unsent_ = text + "\033[J";
  drawn_ = wanted_;
  send();
}

}  // namespace dmoerm::watch
