// Reads the lines of a plain, gzip or zstd text file in bounded memory. The first bytes of the file decide which it is.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

namespace dmoerm::preference {

class LineReader {
 public:
  /// @throws IoError if the file cannot be opened, DataError if it is of another known type (Parquet, zip, ...)
  explicit LineReader(const std::filesystem::path& path);
  ~LineReader();
  LineReader(LineReader&&) noexcept;

  /// Read the next line without its end ("\n" or "\r\n"). A byte-order mark before the first line is dropped.
  /// @return false at the end of the file
  /// @throws DataError for truncated or damaged compression, or a line longer than 64 MiB
  bool next(std::string& line);
  /// 1-based number of the last line that next() read.
  [[nodiscard]] std::int64_t number() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace dmoerm::preference
