// The tiny random decoder as a Hugging Face directory, for tests of what loads its backbone by name.
#pragma once
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/files.h"
#include "nn/safetensors.h"
#include "support/tiny_backbone.h"

namespace dmoerm::test {

inline nlohmann::json tiny_config(const nn::BackboneSpec& spec) {
  return {{"model_type", "llama"},
          {"vocab_size", spec.vocab},
          {"hidden_size", spec.width},
          {"intermediate_size", spec.intermediate},
          {"num_hidden_layers", spec.layers},
          {"num_attention_heads", spec.heads},
          {"num_key_value_heads", spec.kv_heads},
          {"head_dim", spec.head_dim},
          {"max_position_embeddings", spec.max_positions}};
}

inline void write_tiny_model(const std::filesystem::path& directory, std::int64_t vocab) {
  std::filesystem::create_directories(directory);
  write_json_atomically(directory / "config.json", tiny_config(tiny_spec(vocab)));
  nn::save_safetensors(directory / "model.safetensors", tiny_backbone(vocab)->weights().named());
}

}  // namespace dmoerm::test
