#include "hf/import_adapter.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <string>

#include "base/error.h"
#include "base/hub_name.h"
#include "hf/foreign_adapter.h"
#include "hf/foreign_head.h"
#include "nn/safetensors.h"
#include "nn/weights.h"

namespace dmoerm::hf {
namespace {

namespace fs = std::filesystem;

/// What an adapter changes in one layer of a backbone; null: nothing.
struct QAndV {
  const AdaptedLayer *q = nullptr, *v = nullptr;
};

/// @throws DataError saying what lies in the directory if it is not an adapter
void expect_adapter(const fs::path& directory) {
  if (is_adapter(directory)) return;
  std::string what = "there is no adapter_config.json";
  if (!fs::is_directory(directory)) {
    what = no_such_directory(directory);
  } else if (fs::exists(directory / "config.json")) {
    what +=
        ": this is a whole model, but an expert is an adapter over the backbone; let it vote beside the finished model, or label "
        "with it (manual, page exporting.md)";
  } else {
    what += "; peft writes it with save_pretrained(DIR)";
  }
  throw DataError("not-an-adapter", fmt::format("{}: {}", directory.string(), what));
}

/// The adapter's matrices by the layer that they change.
class Sorted {
 public:
  Sorted(const ForeignAdapter& from, const nn::BackboneSpec& spec) : from_(from), spec_(spec) {
    for (const AdaptedLayer& layer : from.layers) add(layer);
    if (by_layer_.empty()) throw from.unsupported("it holds no matrices of LoRA (lora_A, lora_B)");
  }
  [[nodiscard]] const std::map<std::size_t, QAndV>& by_layer() const { return by_layer_; }

 private:
  void add(const AdaptedLayer& layer) {
    const std::int64_t number = nn::layer_of(layer.name);
    const auto index = static_cast<std::size_t>(std::max<std::int64_t>(number, 0));
    const nn::AdaptedNames names = nn::adapted_names(spec_, index);
    const bool q = layer.name == names.q, v = layer.name == names.v;
    if (!q && !v) {
      const auto last = [](const std::string& name) { return name.substr(name.rfind('.') + 1); };
      throw from_.unsupported(fmt::format(
          "tensor {} adapts {}, but experts are adapters of queries and values: train it with target_modules [\"{}\", \"{}\"]",
          layer.stored_a, layer.name, last(names.q), last(names.v)));
    }
    if (number >= spec_.layers)
      throw from_.unsupported(
          fmt::format("tensor {} adapts layer {}, counted from 0, but the backbone has {} layers: is this the model that was "
                      "adapted, and does backbone.layers leave any out?",
                      layer.stored_a, number, spec_.layers));
    from_.check_shape(layer, q ? spec_.q_width() : spec_.kv_width(), spec_.width);
    for (const auto& [name, matrix] : {std::pair(&layer.stored_a, &layer.a_RI), std::pair(&layer.stored_b, &layer.b_OR)}) {
      if (!at::isfinite(*matrix).all().item<bool>())
        throw DataError("tensor-not-finite", fmt::format("{}: tensor {} holds NaN or infinity", from_.file.string(), *name));
    }
    (q ? by_layer_[index].q : by_layer_[index].v) = &layer;
  }

  const ForeignAdapter& from_;
  const nn::BackboneSpec& spec_;
  std::map<std::size_t, QAndV> by_layer_;
};

/// The shape that holds all matrices: their highest rank, and their scale if all have one rank and scale, else 1.
nn::LoraSpec shape_for(const ForeignAdapter& from, std::size_t first_layer) {
  const auto rank = [](const AdaptedLayer& layer) { return layer.a_RI.size(0); };
  const std::int64_t highest = rank(*std::ranges::max_element(from.layers, {}, rank));
  const double scale = from.layers.front().scale;
  const bool alike =
      std::ranges::all_of(from.layers, [&](const AdaptedLayer& layer) { return rank(layer) == highest && layer.scale == scale; });
  return {.rank = highest,
          .alpha = (alike ? scale : 1) * static_cast<double>(highest),
          .dropout = 0,
          .first_layer = static_cast<std::int64_t>(first_layer)};
}

/// Copy one pair of matrices into the first rows and columns of larger ones, which are zeros. @param scale  that of the larger
/// ones
void put(const AdaptedLayer* from, const at::Tensor& a_RI, const at::Tensor& b_OR, double scale) {
  if (from == nullptr) return;
  const std::int64_t rank = from->a_RI.size(0);
  a_RI.narrow(0, 0, rank).copy_(from->a_RI);
  b_OR.narrow(1, 0, rank).copy_(from->scale == scale ? from->b_OR : from->b_OR.mul(from->scale / scale));
}

nn::LoraAdapter adapter_of(const ForeignAdapter& from, const nn::BackboneSpec& spec) {
  const Sorted sorted(from, spec);
  nn::LoraAdapter adapter(spec, shape_for(from, sorted.by_layer().begin()->first));
  const std::int64_t rank = adapter.lora().rank;
  for (const auto& [number, layer] : sorted.by_layer()) {
    const nn::LoraLayer& to = adapter.layers[number];
    put(layer.q, to.a_qv.narrow(0, 0, rank), to.b_q, adapter.lora().scale());
    put(layer.v, to.a_qv.narrow(0, rank, rank), to.b_v, adapter.lora().scale());
  }
  return adapter;
}

/// The head of an encoder's adapter that this program wrote.
ForeignHead stored_head_of(const ForeignAdapter& from, const nn::BackboneSpec& spec) {
  const auto reader = nn::SafetensorsReader::open(from.file);
  if (!holds_head(from.head_tensors(spec)))
    throw head_missing(
        from.file.parent_path(), spec,
        "over a BERT backbone only adapters that dmoerm wrote are taken over: give an expert's whole folder from a "
        "bundle, or let the run train this expert");
  if (!nn::is_stored_head(reader))
    throw from.unsupported(
        "a BERT classifier of another program reads through a pooler with tanh, which the head of an expert does not have; only "
        "adapters that dmoerm wrote are taken over a BERT backbone");
  nn::ValueHead head{at::zeros({spec.width})};
  nn::load_stored_head(reader, "base_model.model.", spec, head);
  return {.w_D = head.w_D};
}

ForeignHead foreign_head_of(const ForeignAdapter& from, const nn::BackboneSpec& spec) {
  const fs::path directory = from.file.parent_path();
  std::map<std::string, at::Tensor> tensors = from.head_tensors(spec);
  add_value_head(directory, tensors);
  return head_of(directory, spec, tensors);
}

}  // namespace

nn::RewardModel ImportedAdapter::over(std::shared_ptr<nn::Backbone> backbone) const {
  nn::RewardModel model(std::move(backbone), adapter.lora());
  model.adapter()->flat.copy_(adapter.flat);
  at::Tensor w_D = model.head().w_D;
  w_D.copy_(head.w_D);
  return model;
}

ImportedAdapter import_adapter(const fs::path& directory, const nn::BackboneSpec& spec) {
  expect_adapter(directory);
  const ForeignAdapter from = read_adapter(directory, spec);
  const ForeignHead head = spec.encoder() ? stored_head_of(from, spec) : foreign_head_of(from, spec);
  return {adapter_of(from, spec), {head.w_D}, head.bias};
}

}  // namespace dmoerm::hf
