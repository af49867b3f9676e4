// PEFT adapters of other programs: LoRA on any linear layers of a backbone.
#pragma once
#include <filesystem>
#include <map>
#include <string>

#include "nn/backbone.h"
#include "nn/safetensors.h"

namespace dmoerm::hf {

/// Whether a directory holds a PEFT adapter, and where the model that it adapts lies.
bool is_adapter(const std::filesystem::path& directory);
/// @throws DataError if the model that adapter_config.json names is not found
std::filesystem::path base_of_adapter(const std::filesystem::path& directory);

/// Add an adapter's matrices to the weights of its base.
/// @return the adapter's other tensors, which belong to the head, by names such as "score.weight"
/// @throws DataError naming the setting or the tensor that cannot be folded into the weights
std::map<std::string, at::Tensor> fold_adapter(const std::filesystem::path& directory, nn::Backbone& base);

}  // namespace dmoerm::hf
