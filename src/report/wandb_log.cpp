#include "report/wandb_log.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <cmath>
#include <ctime>
#include <string>
#include <string_view>

#include "base/files.h"
#include "base/hash.h"
#include "base/json_text.h"

namespace dmoerm::report {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

void append_number(std::string& bytes, std::uint64_t value, int count) {
  for (int i = 0; i < count; ++i) bytes += static_cast<char>(value >> (8 * i) & 0xff);
}

/// A protocol buffer that is written field by field.
class Message {
 public:
  Message& number(int field, std::uint64_t value) {
    varint(static_cast<std::uint64_t>(field) << 3);
    varint(value);
    return *this;
  }
  Message& text(int field, std::string_view value) {
    varint(static_cast<std::uint64_t>(field) << 3 | 2);
    varint(value.size());
    bytes_ += value;
    return *this;
  }
  Message& message(int field, const Message& value) { return text(field, value.bytes_); }
  [[nodiscard]] const std::string& bytes() const { return bytes_; }

 private:
  void varint(std::uint64_t value) {
    for (; value >= 0x80; value >>= 7) bytes_ += static_cast<char>(value | 0x80);
    bytes_ += static_cast<char>(value);
  }
  std::string bytes_;
};

// Numbers of the fields of wandb_internal.proto.
enum RecordField : int { kNum = 1, kHistory = 2, kSummary = 3, kRun = 17, kExit = 18, kHeader = 21 };
constexpr int kKey = 1, kNestedKey = 2, kValueJson = 16;

/// Records in blocks of 32 KiB, each piece with length, kind and CRC-32, behind a header of seven bytes.
class Log {
 public:
  Log() {
    bytes_ = ":W&B";
    append_number(bytes_, 0xBEE1, 2);
    append_number(bytes_, 0, 1);
  }

  void add(RecordField field, const Message& content) {
    Message record;
    record.number(kNum, ++records_).message(field, content);
    std::string_view left = record.bytes();
    for (bool first = true; first || !left.empty(); first = false) {
      std::size_t room = kBlock - bytes_.size() % kBlock;
      if (room < kPieceHeader) {
        bytes_.append(room, '\0');
        room = kBlock;
      }
      const std::string_view piece = left.substr(0, room - kPieceHeader);
      left.remove_prefix(piece.size());
      enum Kind : char { kWhole = 1, kFirst = 2, kMiddle = 3, kLast = 4 };
      put(piece, first ? left.empty() ? kWhole : kFirst : left.empty() ? kLast : kMiddle);
      if (left.empty()) break;
    }
  }
  [[nodiscard]] const std::string& bytes() const { return bytes_; }

 private:
  static constexpr std::size_t kBlock = 32768, kPieceHeader = 7;

  void put(std::string_view piece, char kind) {
    const auto* data = reinterpret_cast<const Bytef*>(piece.data());
    const uLong crc = ::crc32(::crc32(0, reinterpret_cast<const Bytef*>(&kind), 1), data, static_cast<uInt>(piece.size()));
    append_number(bytes_, crc, 4);
    append_number(bytes_, piece.size(), 2);
    bytes_ += kind;
    bytes_ += piece;
  }

  std::string bytes_;
  std::uint64_t records_ = 0;
};

Message item(int key_field, const std::string& key, const json& value) {
  return Message().text(key_field, key).text(kValueJson, json_line(value));
}

/// When ranks began to work on the training, in seconds since 1970.
double began(const Run& run, const Training& t) {
  for (const Start& start : run.starts) {
    for (const Period& p : start.periods) {
      if (p.task == t.task || t.task.starts_with(p.task + "/")) return p.start;
    }
  }
  return run.starts.empty() ? 0 : run.starts.front().began;
}

std::string log_of(const Run& run, const Training& t, const std::string& id, double start) {
  Log log;
  log.add(kHeader, Message().message(1, Message().text(1, "dmoerm").text(2, "0.12.0")));
  Message config;
  for (const auto& [name, value] : {std::pair{"kind", t.kind}, {"category", t.category}, {"point", t.point}}) {
    if (!value.empty()) config.message(1, item(kKey, name, value));
  }
  log.add(kRun, Message()
                    .text(1, id)
                    .text(3, run.name)
                    .message(4, config)
                    .text(6, t.category.empty() ? t.kind : t.category)
                    .text(7, t.kind)
                    .text(8, t.task)
                    .message(17, Message().number(1, static_cast<std::uint64_t>(start))));
  Message summary;
  double seconds = 0;
  for (const json& line : t.lines) {
    const double step = line["step"];
    if (!(step >= 0)) continue;
    if (line.contains("seconds") && line["seconds"].is_number()) seconds = line["seconds"];
    Message history;
    for (const auto& [key, value] : line.items()) {
      if (key != "step" && value.is_number()) history.message(1, item(kNestedKey, key, value));
    }
    const json whole = static_cast<std::int64_t>(step);
    history.message(1, item(kNestedKey, "_step", whole))
        .message(1, item(kNestedKey, "_timestamp", start + seconds))
        .message(1, item(kNestedKey, "_runtime", seconds))
        .message(2, Message().number(1, static_cast<std::uint64_t>(step)));
    log.add(kHistory, history);
  }
  for (const auto& [key, value] : t.lines.back().items()) {
    if (value.is_number()) summary.message(1, item(kNestedKey, key == "step" ? "_step" : key, value));
  }
  log.add(kSummary, summary);
  log.add(kExit, Message().number(1, 0).number(2, static_cast<std::uint64_t>(std::max(0.0, seconds))));
  return log.bytes();
}

}  // namespace

std::size_t write_wandb(const Run& run, const fs::path& folder) {
  std::size_t written = 0;
  for (const Training& t : run.trainings) {
    if (t.lines.empty()) continue;
    const double start = began(run, t);
    const auto whole = static_cast<std::time_t>(start);
    std::tm utc{};
    char time[32] = "";
    if (gmtime_r(&whole, &utc) != nullptr) (void)std::strftime(time, sizeof time, "%Y%m%d_%H%M%S", &utc);
    const std::string id = sha256_hex(directory_of(run).string() + "\n" + t.task).substr(0, 12);
    const fs::path own = folder / fmt::format("offline-run-{}-{}", time, id);
    fs::create_directories(own / "files");
    write_file_atomically(own / fmt::format("run-{}.wandb", id), log_of(run, t, id, start));
    ++written;
  }
  return written;
}

}  // namespace dmoerm::report
