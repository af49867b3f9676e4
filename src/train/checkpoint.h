// Checkpoints inside a task: safetensors files and, written last, JSON manifests with their checksums. With a sharded optimizer
// every rank writes a shard of its own, and any number of ranks can read the shards.
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
  std::int64_t begin = 0, total = 0;  ///< First element and length of the flat tensor; total 0: a whole tensor
};

/// What a rank writes into a checkpoint.
struct Checkpoint {
  std::int64_t step = 0;
  nlohmann::json state;     ///< Everything besides the tensors; equal on all ranks
  nlohmann::json identity;  ///< The task's "key", and its "settings" to report which of them differ
  std::vector<CheckpointTensor> tensors;
  int shard = 0, shards = 1;  ///< Number of this rank's shard, and number of shards; 1: one rank writes everything
};

/// Writes checkpoints into a task's folder, one at a time, while training continues. A failure is only a warning, because
/// training does not need checkpoints.
class CheckpointWriter {
 public:
  /// @param kept  number of complete checkpoints to keep, > 0
  CheckpointWriter(std::filesystem::path directory, int kept) : directory_(std::move(directory)), kept_(kept) {}
  /// Waits for the checkpoint that is being written.
  ~CheckpointWriter() { wait(); }
  CheckpointWriter(const CheckpointWriter&) = delete;
  CheckpointWriter& operator=(const CheckpointWriter&) = delete;

  /// Whether a checkpoint is being written.
  [[nodiscard]] bool busy() const;
  /// Copy the tensors, so that training may change them, and write the copies in a thread. Waits for the previous checkpoint.
  void start(Checkpoint checkpoint);
  /// Wait for the last checkpoint. @return why it could not be written; "" if it was
  const std::string& wait();
  /// MiB/s at which the last checkpoint was written, its other shards counted as if they were as large; 0 if none was, or if one
  /// is being written.
  [[nodiscard]] double mib_per_s() const { return busy() ? 0 : mib_per_s_; }

 private:
  void write(const Checkpoint& checkpoint);
  std::filesystem::path directory_;
  int kept_;
  bool warned_of_space_ = false;
  std::string problem_;  ///< Of the last checkpoint
  double mib_per_s_ = 0;
  std::future<void> writing_;
};

/// Write a checkpoint now. @throws IoError, also if the disk has no room for it (then nothing is left behind)
void save_checkpoint(const std::filesystem::path& directory, const Checkpoint& checkpoint, int kept);

/// A checkpoint on disk whose checksums are verified.
class CheckpointReader {
 public:
  [[nodiscard]] std::int64_t step() const { return step_; }
  [[nodiscard]] const nlohmann::json& state() const { return state_; }
  /// A tensor that was written whole, in its shape, or one assembled from its shards, flat. @throws DataError if it is absent
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
    std::int64_t begin, end, total;  ///< Elements [begin, end) of `total`; total 0: the whole tensor
  };
  std::int64_t step_ = 0;
  nlohmann::json state_;
  std::vector<nn::SafetensorsReader> files_;
  std::map<std::string, std::vector<Slice>> slices_;
};

/// The newest complete, undamaged checkpoint of the task `key`, or nullopt. Skips others with a warning.
/// @param key   key of the task
/// @param step  look only at this step, whose checksums another rank has verified
/// @throws ConfigError for a checkpoint of another schema, naming both
std::optional<CheckpointReader> find_checkpoint(const std::filesystem::path& directory, const std::string& key,
                                                std::optional<std::int64_t> step = std::nullopt);

/// One checkpoint of a folder, for `dmoerm inspect checkpoint`.
struct CheckpointInfo {
  std::int64_t step = 0;
  int shards_found = 0, shards = 1;
  std::uintmax_t bytes = 0;
  std::string problem;      ///< Why it cannot be read; "" if it can
  nlohmann::json manifest;  ///< Manifest of its first shard; null if that cannot be read
};
/// The checkpoints of a folder, newest first.
std::vector<CheckpointInfo> list_checkpoints(const std::filesystem::path& directory);

/// Whether a file belongs to a checkpoint.
bool is_checkpoint_file(const std::filesystem::path& file);
/// Remove all checkpoints of a folder, after the task is done.
void remove_checkpoints(const std::filesystem::path& directory);

}  // namespace dmoerm::train
