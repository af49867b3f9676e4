#include "moe/save_bundle.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "moe/bundle_files.h"
#include "moe/load_bundle.h"

namespace dmoerm::moe {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

std::string dtype_name(const nn::Backbone& base) { return base.dtype() == at::kBFloat16 ? "bfloat16" : "float32"; }

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

/// The id to pad with. transformers reads the reward at the last token that is not padding, so the padding token must not be one
/// that ends a text. Tokenizers treat it as special, so it should be a special token already.
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

/// config.json of the source, changed into that of a transformers sequence classifier with one label.
json classifier_config(const fs::path& source, const nn::Backbone& base, std::int64_t pad) {
  const nn::BackboneSpec& spec = base.spec();
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
  config["dtype"] = dtype_name(base);
  config["pad_token_id"] = pad;
  return config;
}

/// A transformers checkpoint of a backbone with a head.
void save_base(const fs::path& directory, const fs::path& source, const nn::Backbone& base, std::int64_t pad,
               const at::Tensor& head_D) {
  fs::create_directories(directory);
  write_json_atomically(directory / "config.json", classifier_config(source, base, pad));
  nn::NamedTensors tensors;
  for (const auto& [name, slot] : base.weights().named()) tensors.emplace_back(nn::head_model_prefix(base.spec()) + name, slot);
  nn::StoredHead head = nn::stored_head(base.spec(), {head_D});
  for (const nn::NamedTensors& more : {nn::pooler_tensors(base.spec(), base.dtype()), head.tensors})
    tensors.insert(tensors.end(), more.begin(), more.end());
  nn::save_safetensors(directory / "model.safetensors", tensors, std::move(head.metadata));
}

json to_json(const ScoreStats& stats) { return {{"mean", stats.mean}, {"std", stats.std}, {"count", stats.count}}; }

/// Copy the source's tokenizer. It pads with the token that the base's config.json names, and it loses the source's chat
/// template, because this model was trained with another.
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

/// Whether the base's reward is that of a head over a backbone of the category's own; else an adapter goes before it.
bool reads_own_head(const Category& category) { return category.aggregator.reads_base() && category.base.adapter() == nullptr; }

json golden_json(const Bundle& bundle, const std::vector<GoldenText>& golden) {
  json list = json::array();
  const auto add = [&](const auto& prompt, const auto& responses, const std::string& category) {
    json messages = json::array();
    for (const preference::Message& m : prompt) messages.push_back({{"role", m.role}, {"content", m.content}});
    json scores = json::array(), rewards = json::array();
    for (const Score& s : score_texts(bundle, prompt, responses, category).responses) {
      scores.push_back(s.reward);
      rewards.push_back(s.expert_rewards);
    }
    list.push_back({{"prompt", messages},
                    {"responses", responses},
                    {"category", category},
                    {"scores", scores},
                    {"expert_rewards", rewards}});
  };
  for (const auto& [prompt, responses] : golden) {
    add(prompt, responses, "");
    for (const Category& c : bundle.model.categories) add(prompt, responses, c.name);
  }
  return list;
}

}  // namespace

void save_bundle(const Bundle& bundle, const fs::path& directory, const fs::path& source_model,
                 const std::vector<GoldenText>& golden) {
  const Model& model = bundle.model;
  const fs::path temporary = temporary_name(directory);
  try {
    fs::remove_all(temporary);
    fs::create_directories(temporary);
    const at::Tensor zero_D = at::zeros({model.backbone->spec().width});
    const std::int64_t pad = pad_id(source_model, *bundle.tokenizer, *bundle.chat_template);
    save_base(temporary / "base", source_model, *model.backbone, pad, zero_D);
    copy_tokenizer(source_model, temporary / "base", bundle.tokenizer->token_of(static_cast<std::int32_t>(pad)));
    json manifest = {{"schema_version", kBundleSchema},
                     {"template",
                      {{"name", bundle.chat_template->name()},
                       {"sha256", bundle.chat_template->digest()},
                       {"text", bundle.chat_template->text()}}},
                     {"dtype", dtype_name(*model.backbone)},
                     {"max_length", model.limits.layout.max_length},
                     {"min_prompt_tokens", model.limits.layout.min_prompt_tokens},
                     {"batch_tokens", model.limits.batch_tokens},
                     {"provenance", bundle.provenance},
                     {"special_tokens_in_text", bundle.chat_template->special_in_text()}};
    if (const tokenizer::ChatForm* form = bundle.chat_template->form())
      manifest["template"]["form"] = json::parse(form->canonical());
    model.router.save(temporary / "router");
    for (const Category& c : model.categories) {
      std::string base = "base";
      if (&c.backbone() != model.backbone.get()) {
        base = "base/" + c.name;
        save_base(temporary / base, source_model, c.backbone(), pad, reads_own_head(c) ? c.base.head().w_D : zero_D);
      }
      for (std::size_t k = 0; k < c.points.size(); ++k) c.experts[k].save(temporary / "experts" / c.name / c.points[k]);
      fs::create_directories(temporary / "aggregator");
      c.aggregator.save(temporary / "aggregator" / (c.name + ".safetensors"));
      json category = {{"name", c.name}, {"base", base}, {"points", c.points}, {"aggregator", c.aggregator.kind()}};
      if (c.aggregator.reads_base()) {
        category["base_reward"] = reads_own_head(c) ? base : "base_reward/" + c.name;
        if (!reads_own_head(c)) c.base.save(temporary / "base_reward" / c.name);
      }
      manifest["categories"].push_back(std::move(category));
      manifest["score_stats"][c.name] = to_json(c.stats);
    }
    if (model.fallback.adapter() != nullptr) {
      model.fallback.save(temporary / "single");
      manifest["single"] = "adapter";
    } else {
      save_base(temporary / "single", source_model, model.fallback.backbone(), pad, model.fallback.head().w_D);
      manifest["single"] = "checkpoint";
    }
    manifest["single_stats"] = to_json(model.fallback_stats);
    manifest["golden"] = golden_json(bundle, golden);
    manifest["files"] = file_sums(temporary);
    write_json_atomically(temporary / kBundleManifest, manifest);
    load_bundle(temporary, model.backbone->device());  // checks the copy before it replaces an older bundle
    const fs::path old = directory.string() + ".old";
    fs::remove_all(old);
    if (fs::exists(directory)) fs::rename(directory, old);
    fs::rename(temporary, directory);
    sync_path(directory.has_parent_path() ? directory.parent_path() : fs::path("."));
    fs::remove_all(old);
  } catch (...) {
    std::error_code ignored;
    fs::remove_all(temporary, ignored);
    throw;
  }
}

}  // namespace dmoerm::moe
