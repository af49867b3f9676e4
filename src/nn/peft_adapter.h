// Reads and writes an adapter with its value head in PEFT's layout for a sequence classifier: adapter_config.json and
// adapter_model.safetensors.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "nn/lora_adapter.h"
#include "nn/value_head.h"

namespace dmoerm::nn {

/// Whether a directory holds an adapter in PEFT's layout.
bool is_peft_adapter(const std::filesystem::path& directory);

/// Write both files. @return their names
std::vector<std::string> save_peft_adapter(const std::filesystem::path& directory, const BackboneSpec& spec,
                                           const LoraAdapter& adapter, const ValueHead& head);

/// The shape of a stored adapter. @throws DataError naming the setting that is not supported
LoraSpec read_lora_spec(const std::filesystem::path& directory, const BackboneSpec& spec);

/// Read the tensors into an adapter of read_lora_spec()'s shape and a head. If the files hold no head, it stays as it is.
/// @throws DataError naming the tensor and both shapes
void load_peft_adapter(const std::filesystem::path& directory, const BackboneSpec& spec, LoraAdapter& adapter, ValueHead& head);

}  // namespace dmoerm::nn
