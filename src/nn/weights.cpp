#include "nn/weights.h"

#include <ATen/ops/zeros.h>
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <functional>
#include <set>
#include <span>

#include "base/counted.h"
#include "base/error.h"
#include "nn/model_tensors.h"

namespace dmoerm::nn {
namespace {

/// Lists every parameter tensor of a spec in order, to size the buffer and then to divide it.
class Layout {
 public:
  /// Reserve `shape`; `slot` receives the view once the buffer is allocated.
  void add(at::Tensor* slot, std::vector<std::int64_t> shape) {
    std::int64_t count = 1;
    constexpr std::int64_t kMost = std::int64_t{1} << 46;  // no sum of layers leaves 64 bits
    for (std::int64_t extent : shape) {
      if (__builtin_mul_overflow(count, extent, &count) || count > kMost)
        throw DataError("model-config-out-of-range",
                        fmt::format("config.json: a tensor of shape {} is too large", nn::shape_text(shape)));
    }
    entries_.push_back({slot, std::move(shape), total_, count});
    total_ += (count + kAlign - 1) / kAlign * kAlign;
  }
  [[nodiscard]] std::int64_t total() const { return total_; }
  at::Tensor cut(at::Device device, at::ScalarType dtype) const {
    at::Tensor flat = at::zeros({total_}, at::TensorOptions().dtype(dtype).device(device));
    for (const Entry& entry : entries_) *entry.slot = flat.narrow(0, entry.begin, entry.count).view(entry.shape);
    return flat;
  }

 private:
  static constexpr std::int64_t kAlign = 16;  // 64 bytes of float32
  struct Entry {
    at::Tensor* slot;
    std::vector<std::int64_t> shape;
    std::int64_t begin, count;
  };
  std::vector<Entry> entries_;
  std::int64_t total_ = 0;
};

/// @throws DataError if the files have another number of layers than config.json says
void check_layers(const ModelTensors& tensors, const std::filesystem::path& directory, std::int64_t layers_of_config) {
  std::int64_t layers = 0;
  for (const auto& [plain, stored] : tensors.all()) layers = std::max(layers, layer_of(plain) + 1);
  if (layers == 0 || layers == layers_of_config) return;  // without any layer, the first missing tensor says more
  throw DataError("layers-differ-from-config",
                  fmt::format("{}: config.json says num_hidden_layers {}, the weights have {}: take both from the same model (to "
                              "use the first layers alone, set backbone.layers)",
                              directory.string(), layers_of_config, counted(layers, "layer")));
}

/// Whether a file's tensor belongs to a head or is computed here, and so is not read.
bool ignorable(const std::string& name, std::int64_t layers) {
  if (name.starts_with("lm_head.") || name.starts_with("v_head.") || name.starts_with("value_head.") ||
      name.starts_with("score.") || name.starts_with("cls.") || name.starts_with("classifier.") || name.starts_with("pooler.") ||
      name.starts_with("qa_outputs.") || name.ends_with("rotary_emb.inv_freq") || name == "embeddings.position_ids") {
    return true;
  }
  return layer_of(name) >= layers;  // beyond the requested number
}

/// Some of the names in the files, for messages.
std::string some_names(const ModelTensors& tensors) {
  std::string names;
  std::size_t shown = 0;
  for (const auto& [plain, stored] : tensors.all()) {
    if (shown++ < 3) names += (names.empty() ? "" : ", ") + stored;
  }
  return shown == 0 ? "the files hold no tensors" : fmt::format("the files hold {} tensors such as {}", shown, names);
}

/// Whether a layer's matrix is wholly zero, which no trained model has. Embeddings may be, such as those of token types.
bool is_zeros(const std::string& name, const at::Tensor& weight) {
  return weight.dim() == 2 && name.find("layer") != std::string::npos && weight.numel() > 0 && !weight.any().item<bool>();
}

}  // namespace

std::int64_t layer_of(const std::string& name) {
  for (const std::string_view prefix : {"layers.", "encoder.layer."}) {
    if (!name.starts_with(prefix)) continue;
    const std::string number = name.substr(prefix.size(), 9);
    return !number.empty() && std::isdigit(static_cast<unsigned char>(number[0])) ? std::stoll(number) : -1;
  }
  return -1;
}

std::string head_model_prefix(const BackboneSpec& spec) { return spec.encoder() ? "bert." : "model."; }

Weights::Weights(const BackboneSpec& spec, at::Device device, std::size_t layer_buffers, at::ScalarType dtype)
    : layers(static_cast<std::size_t>(spec.layers)), spec_(spec) {
  const std::int64_t d = spec.width, f = spec.intermediate;
  Layout layout;
  bounds_ = {0};
  layout.add(&embed_tokens, {spec.vocab, d});
  if (spec.encoder()) {
    layout.add(&embed_positions, {spec.max_positions, d});
    layout.add(&embed_types, {spec.type_vocab, d});
    layout.add(&embed_norm_w, {d});
    layout.add(&embed_norm_b, {d});
  }
  const std::size_t buffers = layer_buffers > 0 ? std::min(layer_buffers, layers.size()) : layers.size();
  for (LayerWeights& layer : std::span(layers).first(buffers)) {
    bounds_.push_back(layout.total());
    layout.add(&layer.norm1_w, {d});
    layout.add(&layer.qkv_w, {spec.qkv_width(), d});
    if (spec.qkv_bias) layout.add(&layer.qkv_b, {spec.qkv_width()});
    if (spec.qk_norm) layout.add(&layer.q_norm_w, {spec.head_dim});
    if (spec.qk_norm) layout.add(&layer.k_norm_w, {spec.head_dim});
    layout.add(&layer.o_w, {d, spec.q_width()});
    if (spec.o_bias) layout.add(&layer.o_b, {d});
    layout.add(&layer.norm2_w, {d});
    const std::int64_t up = spec.encoder() ? f : 2 * f;
    layout.add(&layer.up_w, {up, d});
    if (spec.mlp_bias) layout.add(&layer.up_b, {up});
    layout.add(&layer.down_w, {d, f});
    if (spec.mlp_bias) layout.add(&layer.down_b, {d});
    if (spec.encoder()) layout.add(&layer.norm1_b, {d});
    if (spec.encoder()) layout.add(&layer.norm2_b, {d});
  }
  bounds_.push_back(layout.total());
  if (!spec.encoder()) layout.add(&final_norm_w, {d});
  bounds_.push_back(layout.total());
  flat = layout.cut(device, dtype);
  for (std::size_t i = buffers; i < layers.size(); ++i) layers[i] = layers[i % buffers];

  const auto name = [&](const std::string& key, const at::Tensor& tensor) {
    if (tensor.defined()) named_.emplace_back(key, tensor);
  };
  const auto rows = [](const at::Tensor& tensor, std::int64_t begin, std::int64_t count) {
    return tensor.defined() ? tensor.narrow(0, begin, count) : tensor;
  };
  const std::int64_t q = spec.q_width(), kv = spec.kv_width();
  name(spec.encoder() ? "embeddings.word_embeddings.weight" : "embed_tokens.weight", embed_tokens);
  name("embeddings.position_embeddings.weight", embed_positions);
  name("embeddings.token_type_embeddings.weight", embed_types);
  name("embeddings.LayerNorm.weight", embed_norm_w);
  name("embeddings.LayerNorm.bias", embed_norm_b);
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const LayerWeights& layer = layers[i];
    const std::string at = fmt::format("{}.{}.", spec.encoder() ? "encoder.layer" : "layers", i);
    const auto linear = [&](const std::string& key, const at::Tensor& w, const at::Tensor& b) {
      name(at + key + ".weight", w);
      name(at + key + ".bias", b);
    };
    const char* parts[3] = {"q_proj", "k_proj", "v_proj"};
    const char* bert_parts[3] = {"query", "key", "value"};
    const std::int64_t begins[3] = {0, q, q + kv}, counts[3] = {q, kv, kv};
    for (std::size_t p = 0; p < 3; ++p) {
      linear(spec.encoder() ? std::string("attention.self.") + bert_parts[p] : std::string("self_attn.") + parts[p],
             rows(layer.qkv_w, begins[p], counts[p]), rows(layer.qkv_b, begins[p], counts[p]));
    }
    if (spec.encoder()) {
      linear("attention.output.dense", layer.o_w, layer.o_b);
      linear("attention.output.LayerNorm", layer.norm1_w, layer.norm1_b);
      linear("intermediate.dense", layer.up_w, layer.up_b);
      linear("output.dense", layer.down_w, layer.down_b);
      linear("output.LayerNorm", layer.norm2_w, layer.norm2_b);
    } else {
      linear("self_attn.o_proj", layer.o_w, layer.o_b);
      linear("self_attn.q_norm", layer.q_norm_w, {});
      linear("self_attn.k_norm", layer.k_norm_w, {});
      linear("mlp.gate_proj", rows(layer.up_w, 0, f), rows(layer.up_b, 0, spec.mlp_bias ? f : 0));
      linear("mlp.up_proj", rows(layer.up_w, f, f), rows(layer.up_b, f, spec.mlp_bias ? f : 0));
      linear("mlp.down_proj", layer.down_w, layer.down_b);
      linear("input_layernorm", layer.norm1_w, {});
      linear("post_attention_layernorm", layer.norm2_w, {});
    }
  }
  name("norm.weight", final_norm_w);
}

Weights Weights::load(const BackboneSpec& spec, const std::filesystem::path& directory, at::Device device, at::ScalarType dtype,
                      std::optional<std::int64_t> layers_of_config) {
  const ModelTensors tensors = ModelTensors::open(directory, spec);
  if (layers_of_config) check_layers(tensors, directory, *layers_of_config);
  const SafetensorsReader& reader = tensors.reader();
  for (const auto& [name, slot] : Weights(spec, at::kMeta, 0, dtype).named_) {  // before memory is taken
    const std::string stored = tensors.stored_name(name);
    if (stored.empty())
      throw DataError("tensor-missing",
                      fmt::format("{}: tensor {} (or {}{}) is missing: expected shape {}; {}", directory.string(), name,
                                  head_model_prefix(spec), name, nn::shape_text(slot.sizes().vec()), some_names(tensors)));
    check_weight(reader, stored, slot, "config.json");
  }
  Weights weights(spec, device, 0, dtype);
  std::set<std::string> used;
  std::string zeros;
  for (const auto& [name, slot] : weights.named_) {
    const std::string stored = tensors.stored_name(name);
    const at::Tensor found = load_weight(reader, stored, slot);
    if (zeros.empty() && is_zeros(name, found)) zeros = stored;
    used.insert(stored);
  }
  for (const auto& [plain, stored] : tensors.all()) {
    if (!used.contains(stored) && !ignorable(plain, spec.layers)) {
      throw DataError(
          "unknown-tensor",
          fmt::format("{}: tensor {} {} is not part of this architecture: config.json and weights do not belong together",
                      reader.file_of(stored), stored, nn::shape_text(reader.shape(stored))));
    }
  }
  if (!zeros.empty())
    throw DataError(
        "tensor-of-zeros",
        fmt::format("{}: tensor {} holds nothing but zeros, as a power cut or a full disk leaves them: fetch the model again",
                    reader.file_of(zeros), zeros));
  return weights;
}

at::Tensor Weights::slice(std::size_t number) const {
  const std::size_t buffers = bounds_.size() - 3;
  std::size_t piece = 0;                 // the embeddings
  if (number == 0) piece = buffers + 1;  // the final norm
  if (number >= 1 && number <= layers.size()) piece = 1 + (layers.size() - number) % buffers;
  return flat.narrow(0, bounds_[piece], bounds_[piece + 1] - bounds_[piece]);
}

Weights Weights::clone(std::optional<at::ScalarType> dtype) const {
  Weights copy(spec_, flat.device(), 0, dtype.value_or(flat.scalar_type()));
  copy.flat.copy_(flat);
  return copy;
}

}  // namespace dmoerm::nn
