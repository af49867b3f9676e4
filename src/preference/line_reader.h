// Lines of a text file, plain, gzip or zstd (told by its first bytes), in bounded memory.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

namespace dmoerm::preference {

class LineReader {
 public:
  /// @throws IoError if it cannot be opened
  explicit LineReader(const std::filesystem::path& path);
  ~LineReader();
  LineReader(LineReader&&) noexcept;

  /// The next line without its end ("\n" or "\r\n"; a byte-order mark before the first is dropped). False at the end.
  /// @throws DataError for truncated or damaged compression, or a line over 64 MiB
  bool next(std::string& line);
  /// Number of the line that next() gave last, from 1.
  [[nodiscard]] std::int64_t number() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace dmoerm::preference
