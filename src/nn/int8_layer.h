// The matrices of one transformer layer in eight bits.
#pragma once
#include "nn/backbone_spec.h"
#include "nn/int8_product.h"
#include "nn/weights.h"

namespace dmoerm::nn {

/// What the products of a layer's forward pass read instead of LayerWeights. Biases and norms stay there.
struct Int8Layer {
  /// @param weights  float32, on the CPU
  Int8Layer(const BackboneSpec& spec, const LayerWeights& weights)
      : q(weights.qkv_w.narrow(0, 0, spec.q_width())),
        kv(weights.qkv_w.narrow(0, spec.q_width(), 2 * spec.kv_width())),
        o(weights.o_w),
        up(weights.up_w),
        down(weights.down_w) {}

  Int8Matrix q, kv, o, up, down;  ///< kv: rows of k and v; up: rows of gate and up in decoders
};

}  // namespace dmoerm::nn
