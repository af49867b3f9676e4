#include "hf/foreign_adapter.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/matmul.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "base/files.h"
#include "base/json_problem.h"
#include "hf/foreign_head.h"

namespace dmoerm::hf {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kConfigFile = "adapter_config.json";
constexpr const char* kTensorFile = "adapter_model.safetensors";
constexpr std::string_view kDown = ".lora_A.weight", kUp = ".lora_B.weight";

/// Keys of PEFT's file that the arithmetic below has in it, or that have no part in it.
constexpr std::string_view kUnderstood[] = {"auto_mapping",
                                            "base_model_name_or_path",
                                            "bias",
                                            "eva_config",
                                            "exclude_modules",
                                            "inference_mode",
                                            "init_lora_weights",
                                            "layers_pattern",
                                            "layers_to_transform",
                                            "lora_alpha",
                                            "lora_dropout",
                                            "megatron_core",
                                            "modules_to_save",
                                            "peft_type",
                                            "peft_version",
                                            "qalora_group_size",
                                            "r",
                                            "rank_pattern",
                                            "revision",
                                            "runtime_config",
                                            "target_modules",
                                            "task_type",
                                            "use_rslora"};
/// Ways to initialise an adapter that leave the base's weights as they are.
constexpr std::string_view kStartsThatKeepTheBase[] = {"gaussian", "eva", "orthogonal"};
constexpr const char* kMerge = "merge the adapter with merge_and_unload() in peft, and give the merged model";

/// A name without what PEFT puts in front of it and into it.
std::string plain(std::string name) {
  constexpr std::string_view prefix = "base_model.model.";
  if (name.starts_with(prefix)) name.erase(0, prefix.size());
  for (const std::string_view part : {".modules_to_save", ".default"}) {
    if (const std::size_t at = name.find(part); at != std::string::npos) name.erase(at, part.size());
  }
  return name;
}

/// (alpha / r), or alpha / sqrt(r). @throws DataError for settings that change the arithmetic in other ways
class Scale {
 public:
  explicit Scale(const fs::path& file) : file_(file.string()) {
    const json config = read_json(file);
    try {
      if (config.value("peft_type", "") != "LORA")
        refuse(fmt::format("peft_type {}: only LORA is read", config.value("peft_type", "")));
      if (config.value("bias", "none") != "none")
        refuse(fmt::format("bias: {} is not supported, only none", config.value("bias", "")));
      const json start = config.value("init_lora_weights", json(true));
      if (start.is_string() &&
          std::ranges::find(kStartsThatKeepTheBase, start.get<std::string>()) == std::end(kStartsThatKeepTheBase))
        refuse(fmt::format("init_lora_weights: {} makes peft change the base's weights when it loads the adapter: {}",
                           start.dump(), kMerge));
      for (const auto& [key, value] : config.items()) {
        const bool says_nothing = value.is_null() || value == false || value == "" || (value.is_structured() && value.empty());
        if (!says_nothing && std::ranges::find(kUnderstood, key) == std::end(kUnderstood))
          refuse(fmt::format("{}: {} is not supported, and may change what the adapter computes: {}", key, value.dump(), kMerge));
      }
      alpha_ = config.at("lora_alpha").get<double>();
      if (config.contains("r")) rank_ = config["r"].get<std::int64_t>();
      patterned_ = config.contains("rank_pattern") && !config["rank_pattern"].empty();
      if (!(alpha_ > 0) || !std::isfinite(alpha_)) refuse(fmt::format("lora_alpha: expected a number above 0, found {}", alpha_));
      root_ = config.value("use_rslora", json()) == true;
    } catch (const json::exception& e) {
      refuse(json_mismatch(e));
    }
  }
  /// @param tensor  name of a matrix of this rank, for the error if the settings say another
  [[nodiscard]] double of(std::int64_t rank, const std::string& tensor) const {
    if (rank_ && *rank_ != rank && !patterned_)
      refuse(fmt::format("r is {}, but tensor {} has rank {}: the two are of different adapters, or one was changed by hand",
                         *rank_, tensor, rank));
    const auto r = static_cast<double>(rank);
    return alpha_ / (root_ ? std::sqrt(r) : r);
  }

 private:
  [[noreturn]] void refuse(const std::string& why) const {
    throw DataError("adapter-unsupported", fmt::format("{}: {}", file_, why));
  }
  std::string file_;
  double alpha_ = 0;
  std::optional<std::int64_t> rank_;  ///< Of all matrices, unless patterned_
  bool root_ = false, patterned_ = false;
};

}  // namespace

bool is_adapter(const fs::path& directory) { return fs::exists(directory / kConfigFile); }

std::string base_name_of_adapter(const fs::path& directory) {
  const json named = read_json(directory / kConfigFile).value("base_model_name_or_path", json());
  return named.is_string() ? named.get<std::string>() : "";
}

std::optional<fs::path> find_base_of_adapter(const fs::path& directory) {
  const std::string base = base_name_of_adapter(directory);
  std::error_code ignored;
  if (base.empty()) return std::nullopt;
  fs::path from = fs::weakly_canonical(directory, ignored);
  for (int up = 0; up < 4 && !from.empty(); ++up, from = from.parent_path()) {
    if (fs::exists(from / base / "config.json", ignored)) return from / base;
  }
  if (fs::exists(fs::path(base) / "config.json", ignored)) return base;
  return std::nullopt;
}

fs::path base_of_adapter(const fs::path& directory) {
  if (const std::optional<fs::path> base = find_base_of_adapter(directory)) return *base;
  throw DataError(
      "adapter-base-not-found",
      fmt::format("{}: base_model_name_or_path is {}, and there is no such directory with a model; name the directory "
                  "of the model that it adapts with --base",
                  (directory / kConfigFile).string(),
                  read_json(directory / kConfigFile).value("base_model_name_or_path", json()).dump()));
}

ForeignAdapter read_adapter(const fs::path& directory, const nn::BackboneSpec& spec) {
  const Scale scale(directory / kConfigFile);
  ForeignAdapter adapter{.file = directory / kTensorFile, .layers = {}, .rest = {}};
  const fs::path& file = adapter.file;
  if (!fs::exists(file))
    throw DataError("tensor-missing",
                    fmt::format("{}: there is no such file; PEFT writes it with save_pretrained(DIR)", file.string()));
  const auto reader = nn::SafetensorsReader::open(file);
  for (const std::string& stored : reader.names()) {
    std::string name = plain(stored);
    if (name.ends_with(kUp) || name.find("original_module") != std::string::npos) continue;
    if (!name.ends_with(kDown)) {
      if (name.find("lora_") != std::string::npos)
        throw adapter.unsupported(fmt::format("tensor {} is not a matrix of LoRA on a linear layer", stored));
      adapter.rest.emplace(name, reader.load(stored).to(at::kFloat));
      continue;
    }
    name.erase(name.size() - kDown.size());
    if (const std::string last = name.substr(name.rfind('.') + 1);
        last == "score" || last == "classifier" || last == "value_head")
      throw DataError(
          "head-lost",
          fmt::format("{}: LoRA adapts the head {}, whose own weights were not saved: train again with task_type SEQ_CLS or "
                      "modules_to_save, which keep the head",
                      file.string(), last));
    const std::string prefix = nn::head_model_prefix(spec);
    if (name.starts_with(prefix)) name.erase(0, prefix.size());
    std::string up = stored;
    up.replace(up.find("lora_A"), 6, "lora_B");
    if (!reader.has(up)) throw DataError("tensor-missing", fmt::format("{}: tensor {} is missing", file.string(), up));
    AdaptedLayer layer{.name = name,
                       .a_RI = reader.load(stored).to(at::kFloat),
                       .b_OR = reader.load(up).to(at::kFloat),
                       .scale = 0,
                       .stored_a = stored,
                       .stored_b = up};
    if (layer.a_RI.dim() == 2) layer.scale = scale.of(layer.a_RI.size(0), stored);
    adapter.layers.push_back(std::move(layer));
  }
  return adapter;
}

DataError ForeignAdapter::unsupported(const std::string& why) const {
  return DataError("adapter-unsupported", fmt::format("{}: {}", file.string(), why));
}

void ForeignAdapter::check_shape(const AdaptedLayer& layer, std::int64_t outputs, std::int64_t inputs) const {
  const at::Tensor &a = layer.a_RI, &b = layer.b_OR;
  if (a.dim() == 2 && b.dim() == 2 && a.size(0) == b.size(1) && a.size(0) > 0 && b.size(0) == outputs && a.size(1) == inputs)
    return;
  throw DataError(
      "tensor-shape-differs",
      fmt::format("{}: tensors {} {} and {} {} do not belong to a layer of shape {}: is this the model that was adapted?",
                  file.string(), layer.stored_a, nn::shape_text(a.sizes().vec()), layer.stored_b, nn::shape_text(b.sizes().vec()),
                  nn::shape_text({outputs, inputs})));
}

std::map<std::string, at::Tensor> ForeignAdapter::head_tensors(const nn::BackboneSpec& spec) const {
  const std::string prefix = nn::head_model_prefix(spec);
  std::map<std::string, at::Tensor> tensors;
  for (const auto& [name, tensor] : rest) {
    const std::string own = name.starts_with(prefix) ? name.substr(prefix.size()) : name;
    if (!belongs_to_head(own)) throw unsupported(fmt::format("it replaces {}, which is not part of a head: {}", name, kMerge));
    tensors.insert_or_assign(own, tensor);
  }
  return tensors;
}

std::map<std::string, at::Tensor> fold_adapter(const fs::path& directory, nn::Backbone& base) {
  const ForeignAdapter adapter = read_adapter(directory, base.spec());
  std::map<std::string, at::Tensor> slots;
  for (const auto& [name, slot] : base.weights().named()) slots.emplace(name, slot);
  for (const AdaptedLayer& layer : adapter.layers) {
    const auto slot = slots.find(layer.name + ".weight");
    if (slot == slots.end())
      throw adapter.unsupported(fmt::format("tensor {} adapts {}, which the base does not have", layer.stored_a, layer.name));
    const at::Tensor& weight = slot->second;
    adapter.check_shape(layer, weight.size(0), weight.dim() == 2 ? weight.size(1) : 0);
    weight.add_(at::matmul(layer.b_OR, layer.a_RI).to(weight.device()), layer.scale);
  }
  return adapter.head_tensors(base.spec());
}

}  // namespace dmoerm::hf
