#include "watch/tensorboard.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/files.h"

// A TFRecord is: length of the data (8 bytes), masked CRC of those 8 bytes (4), data, masked CRC of the data (4); little-endian.
// The data here are protobuf messages: tensorflow.Event {1: wall_time double, 2: step int64, 3: file_version string, 5: summary},
// Summary {1: repeated value}, Value {1: tag string, 2: simple_value float}. A field begins with number << 3 | wire type
// (0 varint, 1 eight bytes, 2 length and bytes, 5 four bytes).

namespace dmoerm::watch {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
constexpr std::string_view kVersion = "brain.Event:2";
constexpr std::string_view kPrefix = "events.out.tfevents.";
constexpr std::size_t kWallBytes = 9;  // key and value of wall_time, which comes first

template <class Number>
std::string raw(Number number) {
  static_assert(std::endian::native == std::endian::little);
  std::string bytes(sizeof number, '\0');
  std::memcpy(bytes.data(), &number, sizeof number);
  return bytes;
}

std::string varint(std::uint64_t number) {
  std::string bytes;
  for (; number >= 0x80; number >>= 7U) bytes += static_cast<char>(0x80U | (number & 0x7fU));
  return bytes + static_cast<char>(number);
}

std::string text_field(char field, const std::string& bytes) {
  return static_cast<char>(field << 3 | 2) + varint(bytes.size()) + bytes;
}

std::uint32_t masked_crc(std::string_view bytes) { return std::rotr(crc32c(bytes), 15) + 0xa282ead8U; }

std::string record(double wall_time, const std::string& rest) {
  const std::string data = "\x09" + raw(wall_time) + rest;
  const std::string length = raw<std::uint64_t>(data.size());
  return length + raw(masked_crc(length)) + data + raw(masked_crc(data));
}

/// An event without its wall time.
std::string version_event() { return text_field(3, std::string(kVersion)); }

std::string scalars_event(const json& line) {
  std::string summary;
  for (const auto& [key, value] : line.items()) {
    if (!value.is_number() || !std::isfinite(value.get<double>()) || key == "step" || key == "seconds") continue;
    summary += text_field(1, text_field(1, key) + "\x15" + raw(value.get<float>()));
  }
  return "\x10" + varint(line.at("step").get<std::uint64_t>()) + text_field(5, summary);
}

/// The events of a file without their wall times, up to the first one that is torn or damaged.
struct Events {
  std::vector<std::string> rest;
  std::size_t bytes = 0;  ///< number of bytes that they take
};

Events read_events(std::string_view file) {
  Events events;
  constexpr std::size_t kHead = 12, kTail = 4;
  const auto number = [&]<class Number>(std::size_t at, Number value) {
    std::memcpy(&value, file.data() + at, sizeof value);
    return value;
  };
  while (file.size() - events.bytes >= kHead + kTail + kWallBytes) {
    const std::size_t at = events.bytes;
    const auto length = number(at, std::uint64_t{});
    if (number(at + 8, std::uint32_t{}) != masked_crc(file.substr(at, 8))) break;
    if (length < kWallBytes || length > file.size() - at - kHead - kTail) break;
    const std::string_view data = file.substr(at + kHead, length);
    if (number(at + kHead + length, std::uint32_t{}) != masked_crc(data)) break;
    events.rest.emplace_back(data.substr(kWallBytes));
    events.bytes += kHead + length + kTail;
  }
  return events;
}

std::vector<fs::path> event_files(const fs::path& folder) {
  std::vector<fs::path> files;
  if (!fs::exists(folder)) return files;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(kPrefix) && name.find(".tmp-") == std::string::npos) files.push_back(entry.path());
  }
  std::ranges::sort(files);
  return files;
}

/// Cut a file to `keep` bytes, then append to it.
void append(const fs::path& file, std::size_t keep, std::string_view bytes) {
  const int fd = ::open(file.c_str(), O_WRONLY | O_CLOEXEC);
  bool good = fd >= 0 && ::ftruncate(fd, static_cast<off_t>(keep)) == 0 && ::lseek(fd, 0, SEEK_END) >= 0;
  while (good && !bytes.empty()) {
    const ssize_t put = ::write(fd, bytes.data(), bytes.size());
    good = put >= 0 || errno == EINTR;
    if (put > 0) bytes.remove_prefix(static_cast<std::size_t>(put));
  }
  const int error = errno;
  if (fd >= 0) ::close(fd);
  if (!good) throw IoError("cannot-write-file", fmt::format("{}: cannot append: {}", file.string(), std::strerror(error)));
}

}  // namespace

std::uint32_t crc32c(std::string_view bytes) {
  static const std::array<std::uint32_t, 256> kTable = [] {
    std::array<std::uint32_t, 256> table{};
    for (std::uint32_t i = 0; i < 256; ++i) {
      std::uint32_t crc = i;
      for (int bit = 0; bit < 8; ++bit) crc = crc >> 1U ^ ((crc & 1U) != 0 ? 0x82f63b78U : 0U);
      table[i] = crc;
    }
    return table;
  }();
  std::uint32_t crc = ~0U;
  for (const char c : bytes) crc = crc >> 8U ^ kTable[(crc ^ static_cast<unsigned char>(c)) & 0xffU];
  return ~crc;
}

void write_tensorboard(const fs::path& folder, const json& history, double now) {
  std::vector<std::string> wanted = {version_event()};
  for (const json& line : history) wanted.push_back(scalars_event(line));
  const auto bytes_from = [&](std::size_t first) {
    std::string bytes;
    for (std::size_t i = first; i < wanted.size(); ++i) bytes += record(now, wanted[i]);
    return bytes;
  };
  const std::vector<fs::path> files = event_files(folder);
  if (files.size() == 1) {
    const std::string content = read_file(files.front());
    const Events events = read_events(content);
    const std::size_t common = std::min(events.rest.size(), wanted.size());
    if (common > 0 && std::equal(wanted.begin(), wanted.begin() + static_cast<std::ptrdiff_t>(common), events.rest.begin())) {
      // If the file is ahead, the run was resumed from an earlier step and will write the same events again.
      if (wanted.size() > common) append(files.front(), events.bytes, bytes_from(common));
      return;
    }
  }
  auto second = static_cast<std::int64_t>(now);
  fs::create_directories(folder);
  while (fs::exists(folder / fmt::format("{}{}.dmoerm", kPrefix, second))) ++second;  // a new name, which no reader has open
  write_file_atomically(folder / fmt::format("{}{}.dmoerm", kPrefix, second), bytes_from(0));
  for (const fs::path& file : files) fs::remove(file);
}

}  // namespace dmoerm::watch
