#include "moe/classifier_files.h"

#include <nlohmann/json.hpp>
#include <vector>

#include "base/files.h"
#include "nn/safetensors.h"
#include "nn/value_head.h"
#include "preference/group.h"

namespace dmoerm::moe {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

const char* classifier_name(nn::Family family) {
  switch (family) {
    case nn::Family::llama:
      return "LlamaForSequenceClassification";
    case nn::Family::mistral:
      return "MistralForSequenceClassification";
    case nn::Family::qwen2:
      return "Qwen2ForSequenceClassification";
    case nn::Family::qwen3:
      return "Qwen3ForSequenceClassification";
    case nn::Family::bert:
      return "BertForSequenceClassification";
  }
  return "";
}

/// config.json of the source, changed into that of a transformers sequence classifier with one label. transformers reads the last
/// token whatever a further key says, so its own classes cannot load a model whose heads read the mean.
json classifier_config(const fs::path& source, const Classifier& model, std::int64_t pad) {
  const nn::BackboneSpec& spec = model.spec;
  json config = read_json(source / "config.json");
  config["architectures"] = {classifier_name(spec.family)};
  config["id2label"] = {{"0", "LABEL_0"}};
  config["label2id"] = {{"LABEL_0", 0}};
  config["num_hidden_layers"] = spec.layers;
  if (json& types = config["layer_types"]; types.is_array() && std::ssize(types) > spec.layers) {
    types.erase(types.begin() + spec.layers, types.end());
  } else if (types.is_null()) {
    config.erase("layer_types");
  }
  config.erase("torch_dtype");
  config["dtype"] = dtype_name(model.weights.flat.scalar_type());
  config["pad_token_id"] = pad;
  config.erase(nn::kHeadReadsKey);
  if (spec.head_reads == nn::HeadReads::mean) config[nn::kHeadReadsKey] = "mean";
  return config;
}

}  // namespace

std::string dtype_name(at::ScalarType dtype) { return dtype == at::kBFloat16 ? "bfloat16" : "float32"; }

std::int64_t pad_id(const fs::path& source, const tokenizer::Tokenizer& tokenizer, const tokenizer::ChatTemplate& chat_template) {
  const json config = read_json(source / "config.json");
  const auto stated = [&](const char* key) {
    return config.contains(key) && config[key].is_number_integer() ? config[key].get<std::int64_t>() : -1;
  };
  const std::int64_t eos = stated("eos_token_id"),
                     end = chat_template.render(std::vector<preference::Message>{{"user", "a"}}, "b").back();
  const auto fits = [&](std::int64_t id) { return id >= 0 && id != eos && id != end; };
  if (fits(stated("pad_token_id"))) return stated("pad_token_id");
  std::vector<std::string> names;
  if (fs::exists(source / "tokenizer_config.json")) {
    const json own = read_json(source / "tokenizer_config.json").value("pad_token", json());
    if (own.is_string()) names.push_back(own);
    if (own.is_object()) names.push_back(own.value("content", ""));
  }
  for (const char* name :
       {"<|finetune_right_pad_id|>", "<|endoftext|>", "<pad>", "[PAD]", "<unk>", "<|reserved_special_token_0|>"})
    names.emplace_back(name);
  for (const std::string& name : names) {
    if (const auto id = tokenizer.id_of(name); id && fits(*id)) return *id;
  }
  return fits(0) ? 0 : fits(1) ? 1 : 2;
}

void save_classifier(const fs::path& directory, const fs::path& source, const Classifier& model, std::int64_t pad) {
  fs::create_directories(directory);
  write_json_atomically(directory / "config.json", classifier_config(source, model, pad));
  nn::NamedTensors tensors;
  for (const auto& [name, slot] : model.weights.named()) tensors.emplace_back(nn::head_model_prefix(model.spec) + name, slot);
  nn::StoredHead head = nn::stored_head(model.spec, {model.head_D});
  for (const nn::NamedTensors& more : {nn::pooler_tensors(model.spec, model.weights.flat.scalar_type()), head.tensors})
    tensors.insert(tensors.end(), more.begin(), more.end());
  nn::save_safetensors(directory / "model.safetensors", tensors, std::move(head.metadata));
}

void copy_tokenizer(const fs::path& source, const fs::path& directory, const std::string& pad) {
  write_file_atomically(directory / "tokenizer.json", read_file(source / "tokenizer.json"));
  for (const char* name : {"tokenizer_config.json", "special_tokens_map.json"}) {
    if (!fs::exists(source / name)) continue;
    json config = read_json(source / name);
    if (!pad.empty()) config["pad_token"] = pad;
    config.erase("chat_template");
    write_json_atomically(directory / name, config);
  }
}

}  // namespace dmoerm::moe
