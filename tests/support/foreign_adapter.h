// PEFT adapters with random numbers, as other programs save them, for tests of what reads them.
#pragma once
#include <ATen/ATen.h>

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "base/files.h"
#include "nn/lora_adapter.h"
#include "nn/safetensors.h"

namespace dmoerm::test {

/// A PEFT adapter with a random head, of which a test adds layers and changes settings before it writes it.
struct ForeignFiles {
  explicit ForeignFiles(const nn::BackboneSpec& of, std::uint64_t seed = 11) : spec(of) {
    at::manual_seed(seed);
    tensors.emplace_back("base_model.model.score.weight", at::randn({1, spec.width}));
  }

  /// LoRA on a linear layer.
  ForeignFiles& add(const std::string& layer, std::int64_t outputs, std::int64_t inputs, std::int64_t rank) {
    const std::string name = "base_model.model.model." + layer;
    if (tensors.size() <= 1) {
      config["r"] = rank;
    } else if (config["r"] != rank) {
      config["rank_pattern"][layer] = rank;
    }
    tensors.emplace_back(name + ".lora_A.weight", at::randn({rank, inputs}) * 0.1);
    tensors.emplace_back(name + ".lora_B.weight", at::randn({outputs, rank}) * 0.1);
    return *this;
  }
  ForeignFiles& add_q(std::size_t layer, std::int64_t rank) {
    return add(nn::adapted_names(spec, layer).q, spec.q_width(), spec.width, rank);
  }
  ForeignFiles& add_v(std::size_t layer, std::int64_t rank) {
    return add(nn::adapted_names(spec, layer).v, spec.kv_width(), spec.width, rank);
  }
  ForeignFiles& add_all(std::int64_t rank) {
    for (std::int64_t i = 0; i < spec.layers; ++i)
      add_q(static_cast<std::size_t>(i), rank).add_v(static_cast<std::size_t>(i), rank);
    return *this;
  }
  [[nodiscard]] at::Tensor& tensor(const std::string& name) {
    for (auto& [own, value] : tensors) {
      if (own == name) return value;
    }
    return tensors.emplace_back(name, at::Tensor()).second;
  }
  void remove(const std::string& name) {
    std::erase_if(tensors, [&](const auto& named) { return named.first == name; });
  }
  void write(const std::filesystem::path& directory) const {
    std::filesystem::create_directories(directory);
    write_json_atomically(directory / "adapter_config.json", config);
    nn::save_safetensors(directory / "adapter_model.safetensors", tensors);
  }

  nn::BackboneSpec spec;
  nlohmann::json config = {{"peft_type", "LORA"},    {"task_type", "SEQ_CLS"},       {"r", 4},
                           {"lora_alpha", 9},        {"lora_dropout", 0.1},          {"bias", "none"},
                           {"use_rslora", false},    {"modules_to_save", {"score"}}, {"target_modules", {"q_proj", "v_proj"}},
                           {"fan_in_fan_out", false}};
  nn::NamedTensors tensors;
};

}  // namespace dmoerm::test
