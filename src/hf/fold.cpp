#include "hf/fold.h"

#include <ATen/ops/matmul.h>

namespace dmoerm::hf {

nn::Weights fold(const nn::Backbone& backbone, const nn::LoraAdapter* adapter) {
  nn::Weights weights = backbone.weights().clone(at::kFloat);
  if (adapter == nullptr) return weights;
  const nn::BackboneSpec& spec = backbone.spec();
  const std::int64_t rank = adapter->lora().rank;
  const double scale = adapter->lora().scale();
  for (std::size_t i = adapter->first_layer(); i < weights.layers.size(); ++i) {
    const nn::LoraLayer& lora = adapter->layers[i];
    const at::Tensor& qkv = weights.layers[i].qkv_w;
    const auto add = [&](std::int64_t first_row, std::int64_t rows, const at::Tensor& b, std::int64_t first_a) {
      qkv.narrow(0, first_row, rows).add_(at::matmul(b, lora.a_qv.narrow(0, first_a, rank)), scale);
    };
    add(0, spec.q_width(), lora.b_q, 0);
    add(spec.q_width() + spec.kv_width(), spec.kv_width(), lora.b_v, rank);
  }
  return weights;
}

}  // namespace dmoerm::hf
