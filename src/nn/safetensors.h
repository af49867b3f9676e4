// Reads and writes safetensors files; a model directory of several shards reads like one file.
#pragma once
#include <ATen/core/Tensor.h>

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "nn/safetensors_header.h"

namespace dmoerm::nn {

/// Tensors by name, in a fixed order.
using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

/// Name, type and shape of a tensor in a file.
struct TensorLayout {
  std::string name;
  at::ScalarType dtype = at::kFloat;
  std::vector<std::int64_t> shape;
};
/// The bytes of a safetensors file before the values of its tensors, which follow in this order without a gap.
/// @throws ShapeError for a type that the format lacks
std::string safetensors_head(const std::vector<TensorLayout>& tensors, std::map<std::string, std::string> metadata = {});

/// One or several memory-mapped safetensors files read as one collection.
class SafetensorsReader {
 public:
  /// A single file. @throws IoError, DataError
  static SafetensorsReader open(const std::filesystem::path& file);
  /// A Hugging Face directory: model.safetensors.index.json with its shards, or model.safetensors, or `single_name` in its place.
  /// @throws DataError that says what lies there instead, or which shards are missing
  static SafetensorsReader open_model(const std::filesystem::path& directory,
                                      const std::string& single_name = "model.safetensors");

  [[nodiscard]] std::vector<std::string> names() const;
  [[nodiscard]] bool has(const std::string& name) const { return entries_.contains(name); }
  [[nodiscard]] const std::vector<std::int64_t>& shape(const std::string& name) const;
  /// Type as the file spells it: "F32", "I8".
  [[nodiscard]] const std::string& dtype(const std::string& name) const;
  /// A copy of the tensor in the file's dtype, on the CPU. @throws DataError if there is no such tensor
  [[nodiscard]] at::Tensor load(const std::string& name) const;
  /// Some rows of a tensor, read from the file: what is not asked for takes no memory.
  /// @param rows  indices into the first dimension, int64, [R], in any order
  /// @return a tensor [R, ...] in the file's dtype, on the CPU
  /// @throws DataError if there is no such tensor, IoError if the file cannot be read
  [[nodiscard]] at::Tensor rows(const std::string& name, const at::Tensor& rows) const;
  [[nodiscard]] const std::map<std::string, std::string>& metadata() const { return metadata_; }
  /// The file that holds a tensor, for messages.
  [[nodiscard]] std::string file_of(const std::string& name) const;

 private:
  class Mapping;
  struct Located {
    std::shared_ptr<const Mapping> mapping;
    const char* data;
    TensorEntry entry;
  };
  void add(const std::filesystem::path& file);
  const Located& at(const std::string& name) const;
  std::map<std::string, Located> entries_;
  std::map<std::string, std::string> metadata_;
  std::string source_;
};

/// Write tensors (any device, made contiguous) to `path`: temporary name, fsync, rename. Keys keep the order of `tensors`.
/// @param metadata  entries of the header; "format": "pt" is added, which older versions of transformers require
/// @throws IoError (nothing is left behind)
void save_safetensors(const std::filesystem::path& path, const NamedTensors& tensors,
                      std::map<std::string, std::string> metadata = {});

}  // namespace dmoerm::nn
