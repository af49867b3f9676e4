// A safetensors file whose rows are written as they are computed, and which goes on where the task was broken off.
#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "nn/safetensors_writer.h"
#include "run/task_parts.h"

namespace dmoerm::run {

/// A file of rows under way. Until all is there it lies beside its place, under a name with the task's key; a note among the
/// task's parts says how many rows of it are on the disk.
class RowsWriter {
 public:
  /// @param counters  how many numbers of rows are counted, each from 0: tensors that are written one after the other have their
  /// own
  /// @param parts     where it is noted how much is written, and then that all is
  RowsWriter(const std::filesystem::path& file, const std::vector<nn::TensorLayout>& tensors, std::size_t counters,
             TaskParts& parts);

  /// Rows that are written, and those that are noted.
  [[nodiscard]] std::int64_t written(std::size_t counter) const { return written_[counter]; }
  [[nodiscard]] std::int64_t noted(std::size_t counter) const { return noted_[counter]; }
  [[nodiscard]] nn::SafetensorsWriter& rows() { return *writer_; }
  /// Say that so many rows are written. It is noted from time to time.
  void advance(std::size_t counter, std::int64_t written);
  /// Bring what is written to the disk, and note how much it is, or log a warning if that fails.
  void note();
  /// Move the file to its name, and mark it as written with these settings.
  void publish();

 private:
  std::filesystem::path file_, unfinished_;
  std::string note_;
  TaskParts& parts_;
  std::optional<nn::SafetensorsWriter> writer_;
  std::vector<std::int64_t> written_, noted_;
};

/// Whether such a file is written, with the settings of these parts.
bool rows_written(const std::filesystem::path& file, TaskParts& parts);

/// Remove what other settings left unfinished in a folder of such files.
void remove_unfinished_rows(const std::filesystem::path& folder, const TaskParts& parts);

}  // namespace dmoerm::run
