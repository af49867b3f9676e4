// A random decoder of two small layers, for tests of training.
#pragma once
#include <ATen/ATen.h>

#include <memory>

#include "nn/backbone.h"
#include "support/test_device.h"

namespace dmoerm::test {

inline nn::BackboneSpec tiny_spec(std::int64_t vocab) {
  nn::BackboneSpec spec;
  spec.vocab = vocab, spec.width = 24, spec.intermediate = 32, spec.layers = 2, spec.heads = 4, spec.kv_heads = 2,
  spec.head_dim = 6, spec.max_positions = 512;
  return spec;
}

inline std::shared_ptr<nn::Backbone> random_backbone(const nn::BackboneSpec& spec) {
  nn::Weights weights(spec, test_device());
  at::manual_seed(1);
  for (const auto& [name, slot] : weights.named())
    slot.copy_(name.find("norm") != std::string::npos ? at::ones(slot.sizes()) : at::randn(slot.sizes()) * 0.15);
  return std::make_shared<nn::Backbone>(spec, std::move(weights));
}

inline std::shared_ptr<nn::Backbone> tiny_backbone(std::int64_t vocab) { return random_backbone(tiny_spec(vocab)); }

}  // namespace dmoerm::test
