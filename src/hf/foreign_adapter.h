// PEFT adapters of other programs: LoRA on any linear layers of a backbone.
#pragma once
#include <ATen/core/Tensor.h>

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "nn/backbone.h"
#include "nn/safetensors.h"

namespace dmoerm::hf {

/// Whether a directory holds a PEFT adapter.
bool is_adapter(const std::filesystem::path& directory);
/// What adapter_config.json says that the adapter adapts: a directory or a name on a hub; "" if it does not say.
std::string base_name_of_adapter(const std::filesystem::path& directory);
/// The model that adapter_config.json names, looked for beside the adapter, in the folders above it, and from the working
/// directory.
std::optional<std::filesystem::path> find_base_of_adapter(const std::filesystem::path& directory);
/// find_base_of_adapter(). @throws DataError if it is not found
std::filesystem::path base_of_adapter(const std::filesystem::path& directory);

/// A linear layer that an adapter changes: y = W x + scale B A x. R: rank, I: inputs, O: outputs.
struct AdaptedLayer {
  std::string name;        ///< As Weights::named() has it, without ".weight": "layers.0.self_attn.q_proj"
  at::Tensor a_RI, b_OR;   ///< float32, on the CPU
  double scale = 0;        ///< alpha / R, or alpha / sqrt(R)
  std::string stored_a{};  ///< Names of both in the file
  std::string stored_b{};
};

/// An adapter as PEFT saved it.
struct ForeignAdapter {
  std::filesystem::path file;  ///< That of the tensors
  std::vector<AdaptedLayer> layers;
  std::map<std::string, at::Tensor> rest;  ///< Its other tensors, float32, by names without what PEFT puts in front

  /// The others as tensors of a head, by names such as "score.weight". @throws DataError if one is not part of a head
  [[nodiscard]] std::map<std::string, at::Tensor> head_tensors(const nn::BackboneSpec& spec) const;
  /// @throws DataError naming both tensors with their shapes unless they belong to a layer of this shape
  void check_shape(const AdaptedLayer& layer, std::int64_t outputs, std::int64_t inputs) const;
  /// What refuses this file.
  [[nodiscard]] DataError unsupported(const std::string& why) const;
};

/// Read an adapter over a backbone of this kind.
/// @throws DataError naming the setting that changes the arithmetic of LoRA, a tensor that is missing or no matrix of LoRA, and
/// an adapted head, whose own weights are lost
ForeignAdapter read_adapter(const std::filesystem::path& directory, const nn::BackboneSpec& spec);

/// Add an adapter's matrices to the weights of its base.
/// @return the adapter's other tensors, which belong to the head, by names such as "score.weight"
/// @throws DataError naming the setting or the tensor that cannot be folded into the weights
std::map<std::string, at::Tensor> fold_adapter(const std::filesystem::path& directory, nn::Backbone& base);

}  // namespace dmoerm::hf
