// One transformer layer, forward and backward, with every tensor that is kept in between named: what is saved and what is
// computed again is a decision. Shapes: T rows of the packed batch, R read rows (one a response), D width, F intermediate, Q =
// heads * head_dim, C = kv_heads * head_dim.
#pragma once
#include <ATen/core/Tensor.h>

#include <span>
#include <vector>

#include "nn/attention.h"
#include "nn/lora_adapter.h"
#include "nn/weights.h"

namespace dmoerm::nn {

/// A packed batch as the layers see it.
struct LayerBatch {
  AttentionPlan all, reads;   ///< queries: every row; only the read rows
  at::Tensor cos_TE, sin_TE;  ///< rotary tables of the rows (decoders)
  at::Tensor read_rows_R;     ///< int64
  std::span<const AdapterRows> adapters;
};

/// What backward needs of a layer's forward pass.
struct LayerSaved {
  at::Tensor x_TD;           ///< input
  at::Tensor q, k_TC, v_TC;  ///< after the rotary embedding; q has T rows, or R in a layer that ends at the read rows
  at::Tensor qk_raw;         ///< Qwen3: q and k before their norm
  at::Tensor attended, lse_HT;
  at::Tensor h;   ///< after attention: decoder, the residual sum; encoder, its norm
  at::Tensor up;  ///< before the activation
  at::Tensor rstd1, rstd2;
  at::Tensor mean1, mean2, sum1, sum2;  ///< encoder: inputs of its norms and their means
};

/// Gradients to add to; undefined members of `weights` are not wanted.
struct LayerGradients {
  LayerWeights* weights = nullptr;         ///< null: the layer is frozen
  std::span<LoraAdapter* const> adapters;  ///< one for each AdapterRows; empty: no adapters trained
  bool input = true;                       ///< false: nothing below wants the gradient
};

}  // namespace dmoerm::nn
