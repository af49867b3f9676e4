#include "watch/timeline.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/json_text.h"
#include "base/log.h"

namespace dmoerm::watch {

using nlohmann::json;

Timeline::Timeline(std::filesystem::path file) : file_(std::move(file)) {}

Timeline::~Timeline() {
  if (fd_ >= 0) ::close(fd_);
}

bool Timeline::open() {
  if (fd_ >= 0) return true;
  fd_ = ::open(file_.c_str(), O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
  if (fd_ < 0) return false;
  char last = '\n';
  const off_t size = ::lseek(fd_, 0, SEEK_END);
  torn_ = size > 0 && ::pread(fd_, &last, 1, size - 1) == 1 && last != '\n';
  return true;
}

bool Timeline::put(const std::string& text) {
  std::size_t sent = 0;
  while (sent < text.size()) {
    const ssize_t put = ::write(fd_, text.data() + sent, text.size() - sent);
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) {
      torn_ = torn_ || sent > 0;
      return false;
    }
    sent += static_cast<std::size_t>(put);
  }
  torn_ = false;
  return true;
}

void Timeline::append(const json& event) {
  if (open() && put((torn_ ? "\n" : "") + json_line(event) + "\n")) {
    warned_ = false;
  } else if (!warned_) {
    spdlog::warn("[watch] {}: {}; the run continues", file_.string(), std::strerror(errno));
    warned_ = true;
  }
}

void read_timeline(const std::filesystem::path& file, const std::function<void(const json&)>& take) {
  std::ifstream in(file, std::ios::binary);
  for (std::string line; std::getline(in, line);) {
    const json event = json::parse(line, nullptr, false);
    if (event.is_object()) take(event);
  }
}

}  // namespace dmoerm::watch
