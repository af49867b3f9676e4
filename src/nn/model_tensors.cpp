#include "nn/model_tensors.h"

#include <ATen/ops/isfinite.h>
#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace dmoerm::nn {
namespace {

using Parts = std::vector<std::string>;

Parts split(const std::string& name) {
  Parts parts{""};
  for (const char c : name) {
    if (c == '.') {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

std::string join(const Parts& parts, std::size_t begin) {
  std::string name;
  for (std::size_t i = begin; i < parts.size(); ++i) name += (i > begin ? "." : "") + parts[i];
  return name;
}

/// The parts of a name without those that wrappers of modules put anywhere into it.
Parts unwrapped(const std::string& name) {
  Parts parts = split(name);
  std::erase_if(parts, [](const std::string& part) {
    return part == "_orig_mod" || part == "module" || part == "_fsdp_wrapped_module" || part == "_checkpoint_wrapped_module" ||
           part == "_forward_module";
  });
  return parts;
}

/// The parts in front of the embedding's name, which every tensor of the backbone shares; those of a model with a head if there
/// is no embedding, or more than one.
Parts common_prefix(const std::vector<Parts>& names, const BackboneSpec& spec) {
  const Parts anchor = split(spec.encoder() ? "embeddings.word_embeddings.weight" : "embed_tokens.weight");
  std::vector<Parts> found;
  for (const Parts& name : names) {
    if (name.size() >= anchor.size() && std::equal(anchor.rbegin(), anchor.rend(), name.rbegin()))
      found.emplace_back(name.begin(), name.end() - static_cast<std::ptrdiff_t>(anchor.size()));
  }
  if (found.size() == 1 && !found.front().empty()) return found.front();
  return {spec.encoder() ? "bert" : "model"};
}

std::string without_prefix(const Parts& name, const Parts& prefix) {
  std::size_t shared = 0;
  while (shared < prefix.size() && shared + 1 < name.size() && name[shared] == prefix[shared]) ++shared;
  return join(name, shared);
}

/// What a tensor's name says about how a checkpoint is quantised; "" if nothing.
std::string scheme_of(std::string_view name) {
  const auto ends = [&](std::initializer_list<std::string_view> with) {
    return std::ranges::any_of(with, [&](std::string_view end) { return name.ends_with(end); });
  };
  if (ends({".qweight", ".qzeros", ".g_idx", ".scales"})) return "GPTQ or AWQ";
  if (ends({".SCB", ".weight_format", ".absmax", ".quant_map"}) || name.find("bitsandbytes__") != std::string_view::npos)
    return "bitsandbytes";
  if (ends({".weight_scale_inv"})) return "FP8 in blocks";
  if (ends({".weight_packed", ".weight_scale", ".weight_scale_2", ".weight_zero_point", ".weight_global_scale", ".input_scale",
            ".activation_scale", ".k_scale", ".v_scale"}))
    return "compressed-tensors, FP8 or ModelOpt";
  if (ends({".W_q", ".weight_scales", "_blocks", "._data", ".tensor_impl"})) return "another method";
  return "";
}

void refuse_foreign(const SafetensorsReader& reader) {
  for (const std::string& name : reader.names()) {
    if (const std::string scheme = scheme_of(name); !scheme.empty()) {
      throw DataError("model-quantised",
                      fmt::format("{}: tensor {} belongs to a quantised checkpoint ({}). dmoerm reads float32, float16 and "
                                  "bfloat16: use the model that it was made from",
                                  reader.file_of(name), name, scheme));
    }
    if (name.find(".lora_A.") != std::string::npos || name.find(".base_layer.") != std::string::npos) {
      throw DataError("adapter-not-merged",
                      fmt::format("{}: tensor {} belongs to a model with a LoRA adapter inside: merge it (merge_and_unload() in "
                                  "peft) and save the result",
                                  reader.file_of(name), name));
    }
  }
}

}  // namespace

ModelTensors ModelTensors::open(const std::filesystem::path& directory, const BackboneSpec& spec) {
  ModelTensors tensors;
  tensors.reader_ = SafetensorsReader::open_model(directory);
  refuse_foreign(tensors.reader_);
  const std::vector<std::string> names = tensors.reader_.names();
  std::vector<Parts> parts;
  for (const std::string& name : names) parts.push_back(unwrapped(name));
  const Parts prefix = common_prefix(parts, spec);
  for (std::size_t i = 0; i < names.size(); ++i) {
    const auto [known, fresh] = tensors.stored_.emplace(without_prefix(parts[i], prefix), names[i]);
    if (!fresh)
      throw DataError("tensor-twice", fmt::format("{}: {} and {} are both {}", tensors.reader_.file_of(names[i]), known->second,
                                                  names[i], known->first));
  }
  return tensors;
}

std::string ModelTensors::stored_name(const std::string& name) const {
  if (const auto found = stored_.find(name); found != stored_.end()) return found->second;
  for (const auto& [ours, old] :
       {std::pair("LayerNorm.weight", "LayerNorm.gamma"), std::pair("LayerNorm.bias", "LayerNorm.beta")}) {
    if (!name.ends_with(ours)) continue;
    const auto found = stored_.find(name.substr(0, name.size() - std::string_view(ours).size()) + old);
    if (found != stored_.end()) return found->second;
  }
  return "";
}

void check_weight(const SafetensorsReader& reader, const std::string& stored, const at::Tensor& slot, const char* who) {
  const std::string& dtype = reader.dtype(stored);
  if (dtype != "F32" && dtype != "F16" && dtype != "BF16" && dtype != "F64") {
    throw DataError(
        "tensor-dtype-unsupported",
        fmt::format("{}: tensor {} holds numbers of type {}, weights are F32, F16, BF16 or F64: this is a quantised or "
                    "damaged model; use the one that it was made from",
                    reader.file_of(stored), stored, dtype));
  }
  if (reader.shape(stored) != slot.sizes().vec()) {
    throw DataError("tensor-shape-differs",
                    fmt::format("{}: tensor {} has shape {}, {} requires {}", reader.file_of(stored), stored,
                                shape_text(reader.shape(stored)), who, shape_text(slot.sizes().vec())));
  }
}

at::Tensor load_weight(const SafetensorsReader& reader, const std::string& stored, const at::Tensor& slot) {
  check_weight(reader, stored, slot, "the model");
  const at::Tensor loaded = reader.load(stored).to(at::kFloat);
  if (!at::isfinite(loaded).all().item<bool>())
    throw DataError("tensor-not-finite", fmt::format("{}: tensor {} holds NaN or infinity", reader.file_of(stored), stored));
  slot.copy_(loaded);
  return loaded;
}

}  // namespace dmoerm::nn
