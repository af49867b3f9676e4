// The parameters of a backbone: one flat buffer with two sets of views: tensors fused for speed (q, k, v in one; gate and up in
// one), and slices under the names of transformers.
#pragma once
#include <ATen/core/Tensor.h>

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "nn/backbone_spec.h"
#include "nn/safetensors.h"

namespace dmoerm::nn {

/// Weights of one layer. Linear weights are [out, in]. Tensors that the family does not have are undefined.
struct LayerWeights {
  at::Tensor norm1_w, norm1_b;  ///< Norm before attention in decoders, after it in encoders
  at::Tensor qkv_w, qkv_b;      ///< Rows of q, k, v
  at::Tensor q_norm_w, k_norm_w;
  at::Tensor o_w, o_b;
  at::Tensor norm2_w, norm2_b;  ///< Norm before the MLP in decoders, after it in encoders
  at::Tensor up_w, up_b;        ///< Rows of gate and up in decoders; the intermediate layer in encoders
  at::Tensor down_w, down_b;
};

/// All weights of a backbone as views of `flat`. The same layout serves gradients.
class Weights {
 public:
  /// Zeros in the spec's shapes.
  /// @param layer_buffers  number of layers with memory of their own, for gradients that are used layer by layer: layer i shares
  /// that of layer i % layer_buffers; 0 = all
  explicit Weights(const BackboneSpec& spec, at::Device device = at::kCPU, std::size_t layer_buffers = 0,
                   at::ScalarType dtype = at::kFloat);
  Weights(Weights&&) = default;
  Weights& operator=(Weights&&) = default;

  /// Weights of a Hugging Face directory (float32, float16 or bfloat16 on disk), kept as `dtype`.
  /// @param layers_of_config  number of layers that the files must have, where `spec` may have fewer; default: any number
  /// @throws DataError naming a missing, unknown or misshapen tensor (both shapes), or one that holds NaN or infinity; for
  /// another number of layers in the files
  static Weights load(const BackboneSpec& spec, const std::filesystem::path& directory, at::Device device,
                      at::ScalarType dtype = at::kFloat, std::optional<std::int64_t> layers_of_config = {});

  at::Tensor flat;                                                      ///< [parameters]
  at::Tensor embed_tokens;                                              ///< [vocab, width]
  at::Tensor embed_positions, embed_types, embed_norm_w, embed_norm_b;  ///< Embeddings of encoders
  std::vector<LayerWeights> layers;
  at::Tensor final_norm_w;  ///< Final norm of decoders

  /// Slices of `flat`, in the order in which a backward pass completes their gradients: the final norm (nothing in encoders), the
  /// layers from the last to the first, the embeddings.
  [[nodiscard]] std::size_t slices() const { return layers.size() + 2; }
  /// [numbers of the slice]
  [[nodiscard]] at::Tensor slice(std::size_t number) const;
  [[nodiscard]] std::size_t slice_of_layer(std::size_t layer) const { return layers.size() - layer; }

  /// Views of `flat` under the names of a transformers model without head ("layers.0.self_attn.q_proj.weight").
  [[nodiscard]] const nn::NamedTensors& named() const { return named_; }
  /// A copy with its own buffer. @param dtype  default: the same
  [[nodiscard]] Weights clone(std::optional<at::ScalarType> dtype = {}) const;

 private:
  BackboneSpec spec_;
  nn::NamedTensors named_;
  std::vector<std::int64_t> bounds_;  ///< Bounds in `flat` of embeddings, layers with memory of their own, and final norm
};

/// The number of the layer that a tensor of Weights::named() belongs to by its name; -1 if it belongs to none.
std::int64_t layer_of(const std::string& name);
/// Prefix of the names of Weights::named() in transformers models with a head: "model." or "bert.".
std::string head_model_prefix(const BackboneSpec& spec);

}  // namespace dmoerm::nn
