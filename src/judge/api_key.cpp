#include "judge/api_key.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/host.h"
#include "base/text.h"

namespace dmoerm::judge {
namespace {

constexpr std::size_t kKeyMax = 4096;
constexpr std::size_t kSecretMin = 16;  // shortest key that redact_data() replaces

struct Descriptor {
  int fd;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
};

/// @throws ConfigError if others can read the open file
void check_mode(int fd, const std::string& file) {
  struct stat status {};
  if (::fstat(fd, &status) != 0)
    throw ConfigError("api-key-file-unreadable", fmt::format("key file {}: {}", file, std::strerror(errno)));
  if (!S_ISREG(status.st_mode))
    throw ConfigError("api-key-file-not-regular", fmt::format("key file {}: not a regular file", file));
  if ((status.st_mode & 077) != 0) {
    throw ConfigError("api-key-file-not-private",
                      fmt::format("key file {}: its mode is {:04o}, others may read it; make it private: chmod 600 {}", file,
                                  status.st_mode & 07777, file));
  }
  if (status.st_uid != ::geteuid() && status.st_uid != 0) {
    throw ConfigError("api-key-file-other-owner",
                      fmt::format("key file {}: it belongs to user {}, but this program runs as user {}: change its owner", file,
                                  status.st_uid, ::geteuid()));
  }
}

std::string read_key_file(const std::string& file) {
  const Descriptor descriptor{::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (descriptor.fd < 0) throw ConfigError("api-key-file-unreadable", fmt::format("key file {}: {}", file, std::strerror(errno)));
  check_mode(descriptor.fd, file);
  std::string content(kKeyMax + 2, '\0');
  const ssize_t got = ::read(descriptor.fd, content.data(), content.size());
  if (got < 0) throw ConfigError("api-key-file-unreadable", fmt::format("key file {}: {}", file, std::strerror(errno)));
  content.resize(static_cast<std::size_t>(got));
  return content;
}

/// What a text is that holds a key in the form of another file; nullptr if it may be the key itself. Keys may end with "=".
const char* written_otherwise(std::string_view text) {
  if (text.size() > 1 && (text.front() == '"' || text.front() == '\'') && text.back() == text.front())
    return "in quotation marks, which files of settings have and a key has not";
  if (text.starts_with("Bearer ")) return "\"Bearer\" and a key, as in a header";
  const std::size_t equals = text.find('=');
  const std::string_view name = text.substr(0, equals == std::string_view::npos ? 0 : equals);
  const bool named = name.ends_with("_KEY") || name.ends_with("_TOKEN") || name.starts_with("export ");
  return named && equals + 1 < text.size() ? "a line NAME=KEY, as in files of settings" : nullptr;
}

}  // namespace

ApiKey ApiKey::load(const std::string& variable, const std::string& file) {
  if (variable.empty() && file.empty()) return {};
  if (!variable.empty() && !file.empty()) {
    throw ConfigError("two-api-keys",
                      fmt::format("an endpoint has both a key variable ({}) and a key file ({}): remove one", variable, file));
  }
  ApiKey key;
  std::string place;
  if (!variable.empty()) {
    place = fmt::format("environment variable {}", variable);
    const char* value = std::getenv(variable.c_str());
    if (!value || !*value)
      throw ConfigError("api-key-variable-not-set", fmt::format("{} is not set: set it to the API key", place));
    key.secret_ = value;
  } else {
    place = fmt::format("key file {}", file);
    key.secret_ = read_key_file(file);
  }
  while (!key.secret_.empty() && (key.secret_.back() == '\n' || key.secret_.back() == '\r')) key.secret_.pop_back();
  if (const char* other = written_otherwise(key.secret_))
    throw ConfigError("api-key-malformed", fmt::format("{}: its content is {}: expected the API key alone", place, other));
  if (key.secret_.empty()) throw ConfigError("api-key-empty", fmt::format("{} is empty: put the API key there", place));
  const bool plain = std::all_of(key.secret_.begin(), key.secret_.end(), [](char c) { return c > ' ' && c < 127; });
  if (!plain || key.secret_.size() > kKeyMax) {
    throw ConfigError("api-key-malformed",
                      fmt::format("{}: its content is not an API key: expected one word of at most {} visible ASCII characters",
                                  place, kKeyMax));
  }
  return key;
}

ApiKey::ApiKey(ApiKey&& other) noexcept : secret_(other.secret_) {
  ::explicit_bzero(other.secret_.data(), other.secret_.size());
  other.secret_.clear();
}

ApiKey& ApiKey::operator=(ApiKey&& other) noexcept {
  std::swap(secret_, other.secret_);
  return *this;
}

ApiKey::~ApiKey() { ::explicit_bzero(secret_.data(), secret_.size()); }

std::string ApiKey::redact(std::string text) const {
  if (secret_.empty()) return text;
  for (std::size_t at = text.find(secret_); at != std::string::npos; at = text.find(secret_, at))
    text.replace(at, secret_.size(), "[key]");
  return text;
}

std::string ApiKey::redact_data(std::string text) const { return secret_.size() < kSecretMin ? text : redact(std::move(text)); }

bool is_unprotected(const std::string& address) {
  const std::string url = lower(address);
  if (!url.starts_with("http://")) return false;
  const std::string rest = url.substr(7, url.find_first_of("/?", 7) - 7);
  return !is_own_machine(rest.starts_with('[') ? rest.substr(0, rest.find(']') + 1) : rest.substr(0, rest.find(':')));
}

}  // namespace dmoerm::judge
