// The pretrained transformer under every expert: token ids of a packed batch to hidden states, and back.
#pragma once
#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "data/packed_batch.h"
#include "nn/base_weights.h"
#include "nn/layer.h"
#include "nn/lora_adapter.h"
#include "nn/response_means.h"
#include "nn/weights.h"

namespace dmoerm::nn {

class ElectedChanges;
class MaskedWeights;

/// What a forward pass keeps for its backward pass.
struct ForwardState {
  LayerBatch batch;
  std::vector<AdapterRows> adapters;  ///< Adapters of the pass, in the dtype of the states
  std::vector<LoraAdapter> narrowed;  ///< Copies that stand in for adapters of another dtype
  std::vector<LayerSaved> layers;
  bool recompute = false;       ///< Set before forward(): keep only the layers' inputs; backward() recomputes the rest, same bits
  std::size_t first_layer = 0;  ///< Lowest layer that is trained or adapted; nothing below it is kept
  at::Tensor ids_T, positions_T;
  at::Tensor embedded_TD;     ///< Encoder: input of the embedding norm
  RowStatistics embed_stats;  ///< Encoder: its statistics
  at::Tensor last, rstd;      ///< Decoder: input of the final norm, float32: the read rows [R, D], or all rows [T, D]
  std::vector<data::PackedResponse> responses;  ///< HeadReads::mean: what was read on the CPU,
  ResponseRows response_rows;                   ///< and on a GPU
};

/// States of a batch's rows below layer `layer`, from trunk(). A forward pass may start there.
struct Trunk {
  std::size_t layer = 0;
  at::Tensor x_TD;
};

/// Where gradients go. Undefined or null members are not computed.
struct BackboneGradients {
  Weights* weights = nullptr;          ///< Gradients of all weights of the backbone
  std::vector<LoraAdapter*> adapters;  ///< Gradients of each AdapterRows of the forward pass; empty: none
  /// Called with the number of each slice of `weights` in order: before its first gradient is added, and after its last. May be
  /// empty.
  std::function<void(std::size_t slice)> before_slice{}, after_slice{};
};

class Backbone {
 public:
  /// @param layers  number of layers to use, from the first; 0 = all
  /// @param dtype  float32 or bfloat16, for weights, states and products
  /// @param reads  what heads read; default: what config.json says
  /// @throws DataError as read_backbone_spec() and Weights::load() do
  static std::shared_ptr<Backbone> load(const std::filesystem::path& directory, at::Device device, std::int64_t layers = 0,
                                        at::ScalarType dtype = at::kFloat, std::optional<HeadReads> reads = {});
  Backbone(const BackboneSpec& spec, Weights weights);
  /// A backbone that is kept as a mask (elected_changes.h), for forward passes. They have the bits of one whose weights are
  /// whole. Passes of backbones over the same changes take turns.
  Backbone(const BackboneSpec& spec, std::shared_ptr<const MaskedWeights> masked);
  /// One of a folder. @return null if it holds no mask over these changes
  /// @throws DataError as read_backbone_spec() and MaskedWeights::load() do
  static std::shared_ptr<Backbone> load_as_mask(const std::filesystem::path& directory,
                                                const std::shared_ptr<ElectedChanges>& changes, HeadReads reads);

  /// What forward passes read from now on. For int8 the matrices of the layers are laid out in eight bits (int8_product.h), which
  /// do not see later changes of weights(); embeddings, norms and adapters stay in float32, and so does the backward pass.
  /// @throws ConfigError as expect_int8_possible()
  void use(BaseWeights weights);
  /// @param model  names the model in the message
  /// @throws ConfigError unless weights of `dtype` on `device` can be used in eight bits: float32 on the CPU
  static void expect_int8_possible(const std::string& model, at::Device device, at::ScalarType dtype);
  [[nodiscard]] BaseWeights base_weights() const { return in_int8_.empty() ? BaseWeights::float32 : BaseWeights::int8; }

  /// Final states (after the last norm) of each response as heads read them, [R, D], float32: that of its read row, or the mean
  /// over its text's rows (BackboneSpec::head_reads).
  /// @param experts  adapters by rows; empty: the base model
  /// @param keep  receives what backward() needs; null in inference
  /// @param trunk  states of these rows below the adapted layers, if the caller has them; default: they are computed
  /// @throws ShapeError for ids outside the vocabulary or texts longer than the model's positions
  [[nodiscard]] at::Tensor forward(const data::PackedBatch& batch, std::span<const AdapterRows> adapters, ForwardState* keep,
                                   const Trunk& trunk = {}) const;
  /// Add the gradients of a forward pass, in float32. Empties `keep`. @param grad_RD  gradient in the pass's result
  void backward(const at::Tensor& grad_RD, ForwardState& keep, const BackboneGradients& gradients) const;
  /// States of every row after the first `layers` layers, [T, D], without adapters, in the weights' dtype.
  [[nodiscard]] at::Tensor trunk(const data::PackedBatch& batch, std::size_t layers) const;
  /// Final states of every row, [T, D], without adapters, float32.
  [[nodiscard]] at::Tensor hidden(const data::PackedBatch& batch) const;

  [[nodiscard]] const BackboneSpec& spec() const { return spec_; }
  /// @throws std::logic_error if the backbone is kept as a mask
  [[nodiscard]] const Weights& weights() const;
  [[nodiscard]] Weights& weights();
  [[nodiscard]] at::Device device() const { return weights_.flat.device(); }
  [[nodiscard]] at::ScalarType dtype() const { return weights_.flat.scalar_type(); }
  /// How the model's batches are laid out.
  [[nodiscard]] data::PackingRule packing() const {
    return spec_.encoder() ? data::PackingRule::bidirectional : data::PackingRule::causal;
  }

 private:
  /// A decoder's final norm, in float32.
  [[nodiscard]] at::Tensor final_norm(const at::Tensor& x, at::Tensor* rstd) const;
  /// Give the pass its adapters in the dtype of the states.
  void take_adapters(std::span<const AdapterRows> adapters, ForwardState& state) const;
  /// The tables that the layers need for a batch.
  void prepare(const data::PackedBatch& batch, ForwardState& state) const;
  /// @param may_end  whether the pass reads nothing but what leaves this layer, if it is the last
  [[nodiscard]] LayerCall call_of(const ForwardState& state, std::size_t layer, bool may_end) const;
  /// What a pass holds while it reads weights_.
  [[nodiscard]] std::unique_lock<std::mutex> take_turn() const;
  /// @throws std::logic_error
  void expect_whole() const;
  [[nodiscard]] NormWeights embed_norm() const { return {weights_.embed_norm_w, weights_.embed_norm_b}; }
  static at::Tensor layer_forward(const LayerCall& call, const at::Tensor& x_TD, LayerSaved* saved);
  at::Tensor embed(ForwardState& state) const;
  /// What the layer's forward pass kept; recomputed if it kept only its input.
  LayerSaved take_saved(ForwardState& state, std::size_t layer) const;
  void embed_backward(const at::Tensor& dx_TD, const ForwardState& state, Weights& sink) const;
  BackboneSpec spec_;
  Weights weights_;                              ///< Of a mask: MaskedWeights::outside_layers()
  std::shared_ptr<const MaskedWeights> masked_;  ///< Null: weights_ are whole
  std::vector<Int8Layer> in_int8_;               ///< The layers' matrices in eight bits; empty: forward passes read weights_
  at::Tensor inverse_frequencies_E;              ///< Frequencies of the rotary embedding, float32
};

}  // namespace dmoerm::nn
