#include "label_store/wal_check.h"

#include <fmt/format.h>

#include <cstdint>
#include <utility>

#include "base/files.h"

// Layout (sqlite.org/fileformat2.html, section 4): a header of 32 bytes, then frames of 24 bytes and a page. Numbers are
// big-endian; the last bit of the first says in which order the checksum reads its words.
namespace dmoerm::label_store {
namespace {

constexpr std::size_t kHeader = 32, kFrameHeader = 24;
constexpr std::uint32_t kMagic = 0x377f0682;

std::uint32_t word(const std::string& bytes, std::size_t at, bool big = true) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < 4; ++i) value = value << 8 | static_cast<std::uint8_t>(bytes[at + (big ? i : 3 - i)]);
  return value;
}

struct Sum {
  std::uint32_t first = 0, second = 0;
  void add(const std::string& bytes, std::size_t at, std::size_t count, bool big) {
    for (std::size_t end = at + count; at < end; at += 8) {
      first += word(bytes, at, big) + second;
      second += word(bytes, at + 4, big) + first;
    }
  }
  [[nodiscard]] bool stands_at(const std::string& bytes, std::size_t at) const {
    return word(bytes, at) == first && word(bytes, at + 4) == second;
  }
};

}  // namespace

std::string wal_damage(const std::filesystem::path& path) {
  if (!std::filesystem::exists(path)) return "";
  const std::string log = read_file(path);
  if (log.size() <= kHeader) return "";
  const bool big = (word(log, 0) & 1U) != 0;
  const std::size_t page = word(log, 8);
  Sum sum;
  sum.add(log, 0, 24, big);
  if ((word(log, 0) | 1U) != (kMagic | 1U) || !sum.stands_at(log, 24) || page < 512 || page > 65536) {
    return fmt::format("{}: the header of the write-ahead log is damaged", path.string());
  }
  const std::size_t frame = kFrameHeader + page;
  bool whole = true;
  std::size_t broken_at = 0;
  int lost_commits = 0;
  for (std::size_t at = kHeader; at + frame <= log.size(); at += frame) {
    const bool of_this_log = log.compare(at + 8, 8, log, 16, 8) == 0;  // the salts
    if (whole) {
      sum.add(log, at, 8, big);
      sum.add(log, at + kFrameHeader, page, big);
      whole = of_this_log && sum.stands_at(log, at + 16);
      if (!whole) broken_at = at;
    }
    if (!whole && of_this_log && word(log, at + 4) != 0) ++lost_commits;
  }
  if (lost_commits < 2) return "";
  return fmt::format("{}: the write-ahead log is damaged at byte {}, with {} transactions after it", path.string(), broken_at,
                     lost_commits);
}

}  // namespace dmoerm::label_store
