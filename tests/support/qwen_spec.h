// The shapes of Qwen2.5-1.5B, for programs that count what is asked of a GPU.
#pragma once
#include <cstdint>

#include "nn/backbone_spec.h"

namespace dmoerm::test {

inline nn::BackboneSpec qwen_spec(std::int64_t layers) {
  nn::BackboneSpec spec;
  spec.family = nn::Family::qwen2;
  spec.vocab = 151936, spec.width = 1536, spec.intermediate = 8960, spec.layers = layers, spec.heads = 12, spec.kv_heads = 2,
  spec.head_dim = 128, spec.max_positions = 32768, spec.qkv_bias = true, spec.rope.theta = 1e6, spec.norm_eps = 1e-6;
  return spec;
}

}  // namespace dmoerm::test
