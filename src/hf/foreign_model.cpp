#include "hf/foreign_model.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/dot.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/mv.h>
#include <fmt/format.h>

#include <map>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "hf/foreign_adapter.h"
#include "nn/model_tensors.h"

namespace dmoerm::hf {
namespace {

namespace fs = std::filesystem;
using Tensors = std::map<std::string, at::Tensor>;

/// Tensors of heads and poolers, by plain names.
bool belongs_to_head(const std::string& name) {
  for (const char* start : {"score.", "classifier.", "value_head.", "v_head.", "pooler."}) {
    if (name.starts_with(start)) return true;
  }
  return false;
}

/// The head's tensors in a model's directory, and in the file that LLaMA-Factory writes beside it.
Tensors head_tensors(const fs::path& directory, const nn::BackboneSpec& spec) {
  Tensors found;
  const nn::ModelTensors all = nn::ModelTensors::open(directory, spec);
  for (const auto& [name, stored] : all.all()) {
    if (belongs_to_head(name)) found.emplace(name, all.reader().load(stored).to(at::kFloat));
  }
  return found;
}

void add_value_head(const fs::path& directory, Tensors& tensors) {
  if (!fs::exists(directory / "value_head.safetensors")) return;
  const auto reader = nn::SafetensorsReader::open(directory / "value_head.safetensors");
  for (const std::string& name : reader.names()) tensors.insert_or_assign(name, reader.load(name).to(at::kFloat));
}

ForeignHead head_of(const fs::path& directory, const nn::BackboneSpec& spec, const Tensors& tensors) {
  const auto take = [&](const std::string& name) {
    const auto found = tensors.find(name);
    if (found != tensors.end() && !at::isfinite(found->second).all().item<bool>())
      throw DataError("tensor-not-finite", fmt::format("{}: tensor {} holds NaN or infinity", directory.string(), name));
    return found == tensors.end() ? at::Tensor() : found->second;
  };
  ForeignHead head;
  for (const std::string name : {"score", "classifier", "value_head", "v_head.summary", "v_head"}) {
    const at::Tensor weight = take(name + ".weight");
    if (!weight.defined()) continue;
    const std::int64_t labels = weight.dim() == 2 ? weight.size(0) : 1;
    if (labels != 1)
      throw DataError("several-labels",
                      fmt::format("{}: {}.weight has {} rows: this is a classifier of {} labels, a reward model has one",
                                  directory.string(), name, labels, labels));
    if (weight.numel() != spec.width)
      throw DataError("tensor-shape-differs",
                      fmt::format("{}: tensor {}.weight has shape {}, the model requires [1, {}]", directory.string(), name,
                                  nn::shape_text(weight.sizes().vec()), spec.width));
    head.w_D = weight.flatten();
    if (const at::Tensor bias = take(name + ".bias"); bias.defined()) head.bias = bias.flatten()[0].item<double>();
    break;
  }
  if (!head.w_D.defined())
    throw DataError(
        "head-missing",
        fmt::format("{}: there is no head (score.weight, classifier.weight, value_head.weight): this is a language model or a "
                    "reward model whose head was not saved",
                    directory.string()));
  if (!spec.encoder()) return head;
  head.pooler_DD = take("pooler.dense.weight");
  head.pooler_D = take("pooler.dense.bias");
  if (!head.pooler_DD.defined() || !head.pooler_D.defined())
    throw DataError(
        "tensor-missing",
        fmt::format("{}: the pooler (bert.pooler.dense) is missing, through which BERT's classifier reads", directory.string()));
  return head;
}

}  // namespace

ForeignModel ForeignModel::load(const fs::path& directory, const fs::path& base, at::Device device) {
  ForeignModel model;
  const bool adapter = is_adapter(directory);
  const fs::path whole = !adapter ? directory : base.empty() ? base_of_adapter(directory) : base;
  model.backbone_ = nn::Backbone::load(whole, device, 0, at::kFloat);
  Tensors tensors = head_tensors(whole, model.backbone_->spec());
  if (adapter) {
    for (const auto& [name, tensor] : fold_adapter(directory, *model.backbone_)) {
      const std::string prefix = nn::head_model_prefix(model.backbone_->spec());
      const std::string own = name.starts_with(prefix) ? name.substr(prefix.size()) : name;
      if (!belongs_to_head(own))
        throw DataError("adapter-unsupported", fmt::format("{}: it replaces {}, which is not part of a head: merge it with "
                                                           "merge_and_unload() in peft and give the result",
                                                           directory.string(), name));
      tensors.insert_or_assign(own, tensor);
    }
  }
  add_value_head(directory, tensors);
  model.head_ = head_of(directory, model.backbone_->spec(), tensors);
  const auto config = read_json(whole / "config.json");
  const auto pad = config.find("pad_token_id");
  if (!model.backbone_->spec().encoder() && pad != config.end() && pad->is_number_integer()) model.pad_id_ = *pad;
  model.tokenizer_directory_ = fs::exists(directory / "tokenizer.json") ? directory : whole;
  return model;
}

at::Tensor ForeignModel::rewards(const moe::TokenTexts& texts, const moe::ScoringLimits& limits) const {
  moe::TokenTexts read = texts;
  for (std::vector<std::int32_t>& ids : read.responses) {
    while (ids.size() > 1 && ids.back() == pad_id_) ids.pop_back();
  }
  const at::Tensor states_ND = moe::PackedTexts(read, *backbone_, limits).states({nullptr}).select(1, 0);
  at::Tensor rewards_N = at::empty({states_ND.size(0)});
  for (std::int64_t i = 0; i < rewards_N.size(0); ++i) {  // one by one, so that none depends on the others in its last bits
    at::Tensor state_D = states_ND[i];
    if (head_.pooler_DD.defined()) state_D = (at::mv(head_.pooler_DD, state_D) + head_.pooler_D).tanh();
    rewards_N[i] = at::dot(state_D.to(at::kDouble), head_.w_D.to(at::kDouble)).item<double>() + head_.bias;
  }
  return rewards_N;
}

}  // namespace dmoerm::hf
