// An encoder's layer (BERT): norms after the residual sums, GELU.
#pragma once
#include "nn/layer.h"

namespace dmoerm::nn {

/// Like decoder_forward() and decoder_backward().
at::Tensor encoder_forward(const LayerCall& call, const at::Tensor& x_TD, LayerSaved* saved);
at::Tensor encoder_backward(const LayerCall& call, const at::Tensor& dy, const LayerSaved& saved,
                            const LayerGradients& gradients);

}  // namespace dmoerm::nn
