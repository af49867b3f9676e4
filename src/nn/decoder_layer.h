// A decoder's layer (Llama, Mistral, Qwen2, Qwen3): norms before attention and MLP, rotary positions, SwiGLU.
#pragma once
#include "nn/layer.h"

namespace dmoerm::nn {

/// @param saved  null in inference
/// @return the rows that leave the layer, [T or R, D]
at::Tensor decoder_forward(const LayerCall& call, const at::Tensor& x_TD, LayerSaved* saved);
/// @param dy  gradient in the output, same rows. @return gradient in the input [T, D]; undefined if gradients.input is false
at::Tensor decoder_backward(const LayerCall& call, const at::Tensor& dy, const LayerSaved& saved,
                            const LayerGradients& gradients);

}  // namespace dmoerm::nn
