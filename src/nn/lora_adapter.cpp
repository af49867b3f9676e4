#include "nn/lora_adapter.h"

#include <ATen/ops/zeros.h>
#include <fmt/format.h>

#include <cmath>

#include "base/error.h"
#include "base/rng.h"
#include "nn/weights.h"

namespace dmoerm::nn {

AdaptedNames adapted_names(const BackboneSpec& spec, std::size_t layer) {
  const std::string at =
      spec.encoder() ? fmt::format("encoder.layer.{}.attention.self.", layer) : fmt::format("layers.{}.self_attn.", layer);
  return {at + (spec.encoder() ? "query" : "q_proj"), at + (spec.encoder() ? "value" : "v_proj")};
}

std::int64_t LoraAdapter::parameters(const BackboneSpec& spec, const LoraSpec& lora) {
  const std::int64_t per_layer = lora.rank * (2 * spec.width + spec.q_width() + spec.kv_width());
  return (spec.layers - lora.first_layer) * per_layer;
}

LoraAdapter::LoraAdapter(const BackboneSpec& spec, const LoraSpec& lora, at::Tensor storage)
    : flat(std::move(storage)), layers(static_cast<std::size_t>(spec.layers)), spec_(spec), lora_(lora) {
  DMOERM_CHECK(lora.first_layer >= 0 && lora.first_layer < spec.layers, "an adapter has a layer to adapt");
  DMOERM_CHECK(flat.numel() == parameters(spec, lora), "an adapter's buffer has the adapter's size");
  const std::int64_t d = spec.width, r = lora.rank;
  std::int64_t begin = 0;
  const auto take = [&](std::int64_t rows, std::int64_t columns) {
    at::Tensor view = flat.narrow(0, begin, rows * columns).view({rows, columns});
    begin += rows * columns;
    return view;
  };
  for (std::size_t i = first_layer(); i < layers.size(); ++i)
    layers[i] = {take(2 * r, d), take(spec.q_width(), r), take(spec.kv_width(), r)};
}

LoraAdapter::LoraAdapter(const BackboneSpec& spec, const LoraSpec& lora, at::Device device)
    : LoraAdapter(spec, lora, at::zeros({parameters(spec, lora)}, at::TensorOptions().dtype(at::kFloat).device(device))) {}

LoraAdapter LoraAdapter::in(at::ScalarType dtype) const { return {spec_, lora_, flat.to(dtype)}; }

void LoraAdapter::initialise(std::uint64_t seed) {
  flat.zero_();
  const double bound = 1.0 / std::sqrt(static_cast<double>(spec_.width));
  for (std::size_t i = first_layer(); i < layers.size(); ++i) {
    Rng rng(seed, "lora_A", i);
    at::Tensor a = at::zeros({2 * lora_.rank, spec_.width});
    float* values = a.data_ptr<float>();
    for (std::int64_t j = 0; j < a.numel(); ++j) values[j] = static_cast<float>((2.0 * rng.uniform() - 1.0) * bound);
    layers[i].a_qv.copy_(a);
  }
}

NamedTensors LoraAdapter::named() const {
  NamedTensors named;
  const std::string prefix = "base_model.model." + head_model_prefix(spec_);
  const std::int64_t r = lora_.rank;
  for (std::size_t i = first_layer(); i < layers.size(); ++i) {
    const AdaptedNames adapted = adapted_names(spec_, i);
    const std::string q = prefix + adapted.q, v = prefix + adapted.v;
    named.emplace_back(q + ".lora_A.weight", layers[i].a_qv.narrow(0, 0, r));
    named.emplace_back(q + ".lora_B.weight", layers[i].b_q);
    named.emplace_back(v + ".lora_A.weight", layers[i].a_qv.narrow(0, r, r));
    named.emplace_back(v + ".lora_B.weight", layers[i].b_v);
  }
  return named;
}

}  // namespace dmoerm::nn
