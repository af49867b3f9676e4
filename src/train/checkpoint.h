// Checkpoints inside a task: safetensors files and, written last, a JSON manifest with their checksums. The ranks of a group may
// each write a part of their own (sharded optimizer state); any number of ranks reads them.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <future>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "nn/safetensors.h"

namespace dmoerm::train {

/// A tensor of a checkpoint, or the elements [begin, begin + values.numel()) of a flat one of `total` elements.
struct CheckpointTensor {
  std::string name;
  at::Tensor values;
  std::int64_t begin = 0, total = 0;  ///< total 0: a whole tensor
};

/// What a rank writes.
struct Checkpoint {
  std::int64_t step = 0;
  nlohmann::json state;     ///< everything beside the tensors; equal on all ranks
  nlohmann::json identity;  ///< "key" of the task, and its "settings", to tell what differs
  std::vector<CheckpointTensor> tensors;
  int part = 0, parts = 1;  ///< this rank's and their number; 1: one rank writes all
};

/// Writes checkpoints into a task's folder while training goes on, one at a time. What goes wrong is a warning: training does not
/// need them.
class CheckpointWriter {
 public:
  /// @param kept  complete checkpoints that stay, > 0
  CheckpointWriter(std::filesystem::path directory, int kept) : directory_(std::move(directory)), kept_(kept) {}
  /// Waits for the one under way.
  ~CheckpointWriter() { wait(); }
  CheckpointWriter(const CheckpointWriter&) = delete;
  CheckpointWriter& operator=(const CheckpointWriter&) = delete;

  /// True while one is being written: it is too early for another.
  [[nodiscard]] bool busy() const;
  /// Copy the tensors, so that training may change them, and write them in a thread. Waits for the one before.
  void start(Checkpoint checkpoint);
  void wait();

 private:
  void write(const Checkpoint& checkpoint);
  std::filesystem::path directory_;
  int kept_;
  bool warned_of_space_ = false;
  std::future<void> writing_;
};

/// Write one now. @throws IoError, also when the disk has no room for it (nothing is left behind then)
void save_checkpoint(const std::filesystem::path& directory, const Checkpoint& checkpoint, int kept);

/// A checkpoint found on disk, its checksums verified.
class CheckpointReader {
 public:
  [[nodiscard]] std::int64_t step() const { return step_; }
  [[nodiscard]] const nlohmann::json& state() const { return state_; }
  /// A tensor written whole, in its shape, or one put together of its parts, flat. @throws DataError if it is not there
  [[nodiscard]] at::Tensor load(const std::string& name) const;
  /// Elements [begin, end) of a tensor, flat. @throws DataError
  [[nodiscard]] at::Tensor load(const std::string& name, std::int64_t begin, std::int64_t end) const;
  [[nodiscard]] std::vector<std::string> names() const;

 private:
  friend std::optional<CheckpointReader> find_checkpoint(const std::filesystem::path&, const std::string&,
                                                         std::optional<std::int64_t>);
  struct Slice {
    std::size_t file;
    std::string stored;
    std::int64_t begin, end, total;  ///< total 0: whole
  };
  std::int64_t step_ = 0;
  nlohmann::json state_;
  std::vector<nn::SafetensorsReader> files_;
  std::map<std::string, std::vector<Slice>> slices_;
};

/// The newest complete checkpoint whose checksums hold; damaged or half-written ones are skipped with a warning. nullopt: none,
/// or none for `key`.
/// @param key  identifies what is trained (a task's key): a checkpoint of another key is not used, with a warning
/// @param step  only that of this step, whose checksums another rank has verified
/// @throws ConfigError for one of another schema, naming both
std::optional<CheckpointReader> find_checkpoint(const std::filesystem::path& directory, const std::string& key,
                                                std::optional<std::int64_t> step = std::nullopt);

/// What lies in a folder, newest first, for `dmoerm inspect checkpoint`.
struct CheckpointInfo {
  std::int64_t step = 0;
  int parts_found = 0, parts = 1;
  std::uintmax_t bytes = 0;
  std::string problem;      ///< "" if it can be read
  nlohmann::json manifest;  ///< of its first part; null if that cannot be read
};
std::vector<CheckpointInfo> list_checkpoints(const std::filesystem::path& directory);

/// Remove all checkpoints of a directory (when the task is done).
void remove_checkpoints(const std::filesystem::path& directory);

}  // namespace dmoerm::train
