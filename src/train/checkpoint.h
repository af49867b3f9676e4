// Checkpoints inside a task: tensors and a small JSON state in one safetensors file, its checksum in a manifest that is written
// last.
#pragma once
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "tensor/safetensors.h"

namespace dmoerm::train {

struct Checkpoint {
  std::int64_t step = 0;
  nlohmann::json state;
  tensor::NamedTensors tensors;
};

/// Write `checkpoint-<step>.safetensors` and its manifest into `directory`; older ones beyond the last two are removed. @throws
/// IoError
void save_checkpoint(const std::filesystem::path& directory, const Checkpoint& checkpoint);

/// The newest checkpoint whose checksum holds; damaged or half-written ones are skipped with a warning. nullopt: none, or none
/// for `key`.
/// @param key  identifies what is trained (a task's key): a checkpoint of another key is not used
std::optional<Checkpoint> load_checkpoint(const std::filesystem::path& directory, const std::string& key);

/// Remove all checkpoints of a directory (when the task is done).
void remove_checkpoints(const std::filesystem::path& directory);

}  // namespace dmoerm::train
