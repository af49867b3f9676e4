// Writes a safetensors file row by row, so that its tensors need not be in memory.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "nn/safetensors.h"

namespace dmoerm::nn {

/// A file of tensors of known shapes, whose rows are written in any order and in any number at a time. The finished file has the
/// bytes that save_safetensors() writes.
class SafetensorsWriter {
 public:
  /// @param unfinished  the file that is written until publish(). It outlives this object, so that rows that were flushed are not
  ///   lost with the process
  /// @param go_on  whether `unfinished` is such a file of the same tensors, see is_begun(); else it is made new, of zeros
  /// @throws IoError if the file cannot be created
  SafetensorsWriter(std::filesystem::path unfinished, const std::vector<TensorLayout>& tensors, bool go_on);
  ~SafetensorsWriter();
  SafetensorsWriter(const SafetensorsWriter&) = delete;
  SafetensorsWriter& operator=(const SafetensorsWriter&) = delete;

  /// Whether a file is an unfinished one of these tensors.
  static bool is_begun(const std::filesystem::path& unfinished, const std::vector<TensorLayout>& tensors);

  /// Write rows [first, first + rows.size(0)) of a tensor. @throws IoError
  void write(const std::string& name, std::int64_t first, const at::Tensor& rows);
  /// Bring to the disk what was written so far. @throws IoError
  void flush();
  /// Move the file to its name, after all of its rows were written. On failure it stays unfinished, with what was flushed.
  /// @throws IoError
  void publish(const std::filesystem::path& path);

 private:
  struct Place {
    TensorLayout layout;
    std::uint64_t begin = 0;  ///< Offset of its first byte in the file
  };
  void write_bytes(const char* data, std::size_t bytes, std::uint64_t offset);

  std::filesystem::path path_;
  std::map<std::string, Place> places_;
  int fd_ = -1;
};

}  // namespace dmoerm::nn
