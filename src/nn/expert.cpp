#include "nn/expert.h"

#include <ATen/ops/isfinite.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <set>
#include <stdexcept>

#include "base/error.h"
#include "base/files.h"
#include "base/rng.h"
#include "nn/weights.h"

namespace dmoerm::nn {
namespace {

constexpr const char* kConfigFile = "adapter_config.json";
constexpr const char* kTensorFile = "adapter_model.safetensors";

/// The first adapted layer: PEFT lists the adapted ones, of which the top ones are supported.
std::int64_t first_adapted(const nlohmann::json& config, std::int64_t layers) {
  const auto listed = config.find("layers_to_transform");
  if (listed == config.end() || listed->is_null()) return 0;
  std::set<std::int64_t> adapted;
  if (listed->is_number()) adapted = {listed->get<std::int64_t>()};
  if (listed->is_array()) adapted = listed->get<std::set<std::int64_t>>();
  const bool top = !adapted.empty() && *adapted.begin() >= 0 && *adapted.rbegin() == layers - 1 &&
                   static_cast<std::int64_t>(adapted.size()) == layers - *adapted.begin();
  if (!top)
    throw std::invalid_argument(
        fmt::format("layers_to_transform {} must be the last layers of the {}, without a gap", listed->dump(), layers));
  return *adapted.begin();
}

LoraSpec read_lora_spec(const std::filesystem::path& file, std::int64_t layers) {
  const nlohmann::json config = read_json(file);
  const auto refuse = [&](const std::string& why) { return DataError(fmt::format("{}: {}", file.string(), why)); };
  try {
    if (config.value("peft_type", "") != "LORA")
      throw refuse(fmt::format("peft_type {} is not supported (LORA)", config.value("peft_type", "")));
    for (const char* key : {"use_dora", "use_rslora", "fan_in_fan_out"}) {
      if (config.contains(key) && config[key] == true) throw refuse(fmt::format("{}: true is not supported", key));
    }
    if (config.contains("bias") && config["bias"] != "none") throw refuse("bias must be none");
    for (const char* key : {"rank_pattern", "alpha_pattern"}) {
      if (config.contains(key) && !config[key].empty()) throw refuse(fmt::format("{} is not supported", key));
    }
    LoraSpec lora;
    lora.rank = config.at("r").get<std::int64_t>();
    lora.alpha = config.at("lora_alpha").get<double>();
    lora.dropout = config.value("lora_dropout", 0.0);
    if (lora.rank < 1) throw refuse(fmt::format("r {} must be at least 1", lora.rank));
    lora.first_layer = first_adapted(config, layers);
    return lora;
  } catch (const nlohmann::json::exception& e) {
    throw refuse(e.what());
  } catch (const std::invalid_argument& e) {
    throw refuse(e.what());
  }
}

}  // namespace

Expert::Expert(const BackboneSpec& spec, const LoraSpec& lora, at::Device device)
    : layers(static_cast<std::size_t>(spec.layers)), spec_(spec), lora_(lora) {
  const std::int64_t d = spec.width, r = lora.rank, q = spec.q_width(), kv = spec.kv_width();
  const std::int64_t per_layer = 2 * r * d + q * r + kv * r;
  DMOERM_CHECK(lora.first_layer >= 0 && lora.first_layer < spec.layers, "an adapter has a layer to adapt");
  flat = at::zeros({(spec.layers - lora.first_layer) * per_layer + d}, at::TensorOptions().dtype(at::kFloat).device(device));
  std::int64_t begin = 0;
  const auto take = [&](std::int64_t rows, std::int64_t columns) {
    at::Tensor view = flat.narrow(0, begin, rows * columns).view({rows, columns});
    begin += rows * columns;
    return view;
  };
  for (std::size_t i = first_layer(); i < layers.size(); ++i) layers[i] = {take(2 * r, d), take(q, r), take(kv, r)};
  head_D = take(1, d).view({d});
}

void Expert::initialise(std::uint64_t seed) {
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

nn::NamedTensors Expert::named() const {
  nn::NamedTensors named;
  const std::string prefix = "base_model.model." + head_model_prefix(spec_);
  const std::int64_t r = lora_.rank;
  for (std::size_t i = first_layer(); i < layers.size(); ++i) {
    const std::string at = spec_.encoder() ? fmt::format("{}encoder.layer.{}.attention.self.", prefix, i)
                                           : fmt::format("{}layers.{}.self_attn.", prefix, i);
    const std::string q = at + (spec_.encoder() ? "query" : "q_proj"), v = at + (spec_.encoder() ? "value" : "v_proj");
    named.emplace_back(q + ".lora_A.weight", layers[i].a_qv.narrow(0, 0, r));
    named.emplace_back(q + ".lora_B.weight", layers[i].b_q);
    named.emplace_back(v + ".lora_A.weight", layers[i].a_qv.narrow(0, r, r));
    named.emplace_back(v + ".lora_B.weight", layers[i].b_v);
  }
  named.emplace_back(spec_.encoder() ? "base_model.model.classifier.weight" : "base_model.model.score.weight",
                     head_D.view({1, -1}));
  return named;
}

void Expert::save(const std::filesystem::path& directory) const {
  std::filesystem::create_directories(directory);
  nn::save_safetensors(directory / kTensorFile, named());
  const nlohmann::json targets = spec_.encoder() ? nlohmann::json{"query", "value"} : nlohmann::json{"q_proj", "v_proj"};
  nlohmann::json config = {{"peft_type", "LORA"},
                           {"task_type", "SEQ_CLS"},
                           {"r", lora_.rank},
                           {"lora_alpha", lora_.alpha},
                           {"lora_dropout", lora_.dropout},
                           {"target_modules", targets},
                           {"bias", "none"},
                           {"inference_mode", true},
                           {"fan_in_fan_out", false},
                           {"init_lora_weights", true},
                           {"base_model_name_or_path", nullptr},
                           {"modules_to_save", {spec_.encoder() ? "classifier" : "score"}}};
  if (lora_.first_layer > 0) {  // as PEFT says it
    config["layers_to_transform"] = nlohmann::json::array();
    for (std::size_t i = first_layer(); i < layers.size(); ++i) config["layers_to_transform"].push_back(i);
    config["layers_pattern"] = spec_.encoder() ? "layer" : "layers";
  }
  write_json_atomically(directory / kConfigFile, config);
}

Expert Expert::load(const BackboneSpec& spec, const std::filesystem::path& directory, at::Device device) {
  Expert expert(spec, read_lora_spec(directory / kConfigFile, spec.layers), device);
  const auto reader = nn::SafetensorsReader::open(directory / kTensorFile);
  const std::string head_prefix = head_model_prefix(spec);
  const std::string head_name = expert.named().back().first;
  std::size_t used = 0;
  for (const auto& [name, slot] : expert.named()) {
    std::string stored = name;  // an adapter of the bare model lacks "model." in its names
    if (!reader.has(stored))
      stored =
          "base_model.model." + name.substr(std::min(name.size(), std::string("base_model.model.").size() + head_prefix.size()));
    if (!reader.has(stored)) {
      if (name == head_name) continue;
      throw DataError(fmt::format("{}: tensor {} is missing", (directory / kTensorFile).string(), name));
    }
    if (reader.shape(stored) != slot.sizes().vec()) {
      throw DataError(fmt::format("{}: tensor {} has shape {}, the backbone and r ask for {}", reader.file_of(stored), stored,
                                  nn::shape_text(reader.shape(stored)), nn::shape_text(slot.sizes().vec())));
    }
    slot.copy_(reader.load(stored));
    ++used;
  }
  if (used != reader.names().size()) {
    throw DataError(
        fmt::format("{}: holds {} tensors, LoRA on q and v with a head has {}: other target modules are not supported",
                    (directory / kTensorFile).string(), reader.names().size(), expert.named().size()));
  }
  if (!at::isfinite(expert.flat).all().item<bool>())
    throw DataError(fmt::format("{}: holds NaN or infinity", (directory / kTensorFile).string()));
  return expert;
}

}  // namespace dmoerm::nn
