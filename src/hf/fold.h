// LoRA adapters folded into the weights that they adapt.
#pragma once
#include "nn/backbone.h"
#include "nn/lora_adapter.h"

namespace dmoerm::hf {

/// The weights of a backbone with an adapter in them, W + (alpha / rank) B A, float32. @param adapter  may be null
nn::Weights fold(const nn::Backbone& backbone, const nn::LoraAdapter* adapter);

}  // namespace dmoerm::hf
