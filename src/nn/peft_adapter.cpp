#include "nn/peft_adapter.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <set>
#include <stdexcept>

#include "base/error.h"
#include "base/files.h"
#include "base/json_problem.h"
#include "nn/model_tensors.h"
#include "nn/safetensors.h"
#include "nn/weights.h"

namespace dmoerm::nn {
namespace {

namespace fs = std::filesystem;
constexpr const char* kConfigFile = "adapter_config.json";
constexpr const char* kTensorFile = "adapter_model.safetensors";

/// The first adapted layer. PEFT lists the adapted layers; only the last ones, without a gap, are supported.
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

constexpr const char* kPrefix = "base_model.model.";

}  // namespace

bool is_peft_adapter(const fs::path& directory) { return fs::exists(directory / kConfigFile); }

std::vector<std::string> save_peft_adapter(const fs::path& directory, const BackboneSpec& spec, const LoraAdapter& adapter,
                                           const ValueHead& head) {
  const LoraSpec& lora = adapter.lora();
  fs::create_directories(directory);
  NamedTensors tensors = adapter.named();
  StoredHead stored = stored_head(spec, head);
  for (const auto& [name, tensor] : stored.tensors) tensors.emplace_back(kPrefix + name, tensor);
  save_safetensors(directory / kTensorFile, tensors, std::move(stored.metadata));
  const nlohmann::json targets = spec.encoder() ? nlohmann::json{"query", "value"} : nlohmann::json{"q_proj", "v_proj"};
  nlohmann::json config = {{"peft_type", "LORA"},
                           {"task_type", "SEQ_CLS"},
                           {"r", lora.rank},
                           {"lora_alpha", lora.alpha},
                           {"lora_dropout", lora.dropout},
                           {"target_modules", targets},
                           {"bias", "none"},
                           {"inference_mode", true},
                           {"fan_in_fan_out", false},
                           {"init_lora_weights", true},
                           {"base_model_name_or_path", nullptr},
                           {"modules_to_save", {spec.encoder() ? "classifier" : "score"}}};
  if (lora.first_layer > 0) {  // PEFT lists the adapted layers
    config["layers_to_transform"] = nlohmann::json::array();
    for (std::int64_t i = lora.first_layer; i < spec.layers; ++i) config["layers_to_transform"].push_back(i);
    config["layers_pattern"] = spec.encoder() ? "layer" : "layers";
  }
  write_json_atomically(directory / kConfigFile, config);
  return {kConfigFile, kTensorFile};
}

LoraSpec read_lora_spec(const fs::path& directory, const BackboneSpec& spec) {
  const fs::path file = directory / kConfigFile;
  const nlohmann::json config = read_json(file);
  const auto refuse = [&](const std::string& why) {
    return DataError("adapter-unsupported", fmt::format("{}: {}", file.string(), why));
  };
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
    lora.first_layer = first_adapted(config, spec.layers);
    return lora;
  } catch (const nlohmann::json::exception& e) {
    throw refuse(json_mismatch(e));
  } catch (const std::invalid_argument& e) {
    throw refuse(e.what());
  }
}

void load_peft_adapter(const fs::path& directory, const BackboneSpec& spec, LoraAdapter& adapter, ValueHead& head) {
  const auto reader = SafetensorsReader::open(directory / kTensorFile);
  const std::string head_prefix = head_model_prefix(spec);
  std::size_t unused = reader.names().size();
  for (const auto& [name, slot] : adapter.named()) {
    std::string stored = name;  // an adapter of the model without head lacks "model." in its names
    if (!reader.has(stored))
      stored = kPrefix + name.substr(std::min(name.size(), std::string(kPrefix).size() + head_prefix.size()));
    if (!reader.has(stored))
      throw DataError("tensor-missing", fmt::format("{}: tensor {} is missing", (directory / kTensorFile).string(), name));
    check_weight(reader, stored, slot, "the adapter over this backbone, with the r of adapter_config.json,");
    load_weight(reader, stored, slot);
    --unused;
  }
  for (const auto& [name, tensor] : stored_head(spec, head).tensors) unused -= reader.has(kPrefix + name) ? 1 : 0;
  if (reader.has(kPrefix + head_name(spec))) load_stored_head(reader, kPrefix, spec, head);
  if (unused > 0) {
    throw DataError(
        "adapter-unsupported",
        fmt::format("{}: holds {} tensors more than LoRA on q and v with a head: other target modules are not supported",
                    (directory / kTensorFile).string(), unused));
  }
}

}  // namespace dmoerm::nn
