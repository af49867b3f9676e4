// A decoder's layer (Llama, Mistral, Qwen2, Qwen3): norms before attention and MLP, rotary positions, SwiGLU.
#pragma once
#include "nn/layer.h"

namespace dmoerm::nn {

/// @param ends_at_reads  true in the last layer if the caller needs only the read rows' states: queries, MLP and output then have
/// R rows
/// @param saved  null in inference
/// @return output rows: [T or R, D]
at::Tensor decoder_forward(const BackboneSpec& spec, const LayerWeights& w, const LayerBatch& batch, std::size_t layer,
                           bool ends_at_reads, const at::Tensor& x_TD, LayerSaved* saved);
/// @param dy  gradient in the output, same rows. @return gradient in the input [T, D]; undefined if gradients.input is false
at::Tensor decoder_backward(const BackboneSpec& spec, const LayerWeights& w, const LayerBatch& batch, std::size_t layer,
                            bool ends_at_reads, const at::Tensor& dy, const LayerSaved& saved, const LayerGradients& gradients);

}  // namespace dmoerm::nn
