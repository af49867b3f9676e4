// One transformer layer, forward and backward. Every tensor that is kept in between has a name, so that what is saved and what
// is recomputed is a decision. Shapes: T rows of the packed batch, R read rows (one per response), D width, F intermediate,
// Q = heads * head_dim, C = kv_heads * head_dim.
#pragma once
#include <ATen/core/Tensor.h>

#include <span>
#include <vector>

#include "nn/attention.h"
#include "nn/int8_layer.h"
#include "nn/lora_adapter.h"
#include "nn/ops.h"
#include "nn/weights.h"

namespace dmoerm::nn {

/// A packed batch as the layers see it.
struct LayerBatch {
  AttentionPlan all, reads;               ///< Plans whose queries are every row, and only the read rows
  at::Tensor cos_TE, sin_TE;              ///< Rotary tables of the rows (decoders)
  at::Tensor read_rows_R;                 ///< Indices of the read rows, int64
  std::span<const AdapterRows> adapters;  ///< Adapters, in the dtype of the states
};

/// A linear layer: x w' + b.
struct Linear {
  const at::Tensor &w, &b;              ///< b may be undefined
  const Int8Matrix* in_int8 = nullptr;  ///< w in eight bits, if the forward pass reads that
};

/// One layer and the batch that goes through it.
struct LayerCall {
  const BackboneSpec& spec;
  const LayerWeights& weights;
  const LayerBatch& batch;
  std::size_t layer = 0;               ///< Number of the layer
  const Int8Layer* in_int8 = nullptr;  ///< Its matrices in eight bits, if the forward pass reads those
  /// Which rows leave the layer: in the last one only the read rows, for which alone it computes queries and MLP.
  bool ends_at_reads = false;

  [[nodiscard]] const AttentionPlan& attention() const { return ends_at_reads ? batch.reads : batch.all; }
  [[nodiscard]] Linear o() const { return {weights.o_w, weights.o_b, in_int8 == nullptr ? nullptr : &in_int8->o}; }
  [[nodiscard]] Linear up() const { return {weights.up_w, weights.up_b, in_int8 == nullptr ? nullptr : &in_int8->up}; }
  [[nodiscard]] Linear down() const { return {weights.down_w, weights.down_b, in_int8 == nullptr ? nullptr : &in_int8->down}; }
  /// The rows of `x_TD` that leave the layer.
  [[nodiscard]] at::Tensor leaving(const at::Tensor& x_TD) const {
    return ends_at_reads ? x_TD.index_select(0, batch.read_rows_R) : x_TD;
  }
};

/// What a layer's forward pass keeps for its backward pass.
struct LayerSaved {
  at::Tensor x_TD;    ///< Input
  Qkv qkv;            ///< Values after the rotary embedding; q has T rows, or R in a layer that ends at the read rows
  at::Tensor qk_raw;  ///< Qwen3: q and k before their norm
  Attended attended;
  at::Tensor h;                  ///< State after attention: the residual sum in decoders, its norm in encoders
  at::Tensor up;                 ///< MLP values before the activation
  at::Tensor rstd1, rstd2;       ///< Decoder: 1 / root mean square of its norms' inputs
  at::Tensor sum1, sum2;         ///< Encoder: inputs of its norms,
  RowStatistics stats1, stats2;  ///< and their statistics
};

/// Gradients to add to; undefined members of `weights` are skipped.
struct LayerGradients {
  LayerWeights* weights = nullptr;         ///< Null: the layer is frozen
  std::span<LoraAdapter* const> adapters;  ///< One for each AdapterRows; empty: no adapter is trained
  bool input = true;                       ///< False: nothing below the layer needs the gradient
};

}  // namespace dmoerm::nn
