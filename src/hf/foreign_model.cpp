#include "hf/foreign_model.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/dot.h>
#include <ATen/ops/empty.h>
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

/// The head's tensors in a model's directory, and in the file that LLaMA-Factory writes beside it.
Tensors head_tensors(const fs::path& directory, const nn::BackboneSpec& spec) {
  Tensors found;
  const nn::ModelTensors all = nn::ModelTensors::open(directory, spec);
  for (const auto& [name, stored] : all.all()) {
    if (belongs_to_head(name)) found.emplace(name, all.reader().load(stored).to(at::kFloat));
  }
  return found;
}

}  // namespace

ForeignModel ForeignModel::load(const fs::path& directory, const fs::path& base, at::Device device) {
  ForeignModel model;
  const bool adapter = is_adapter(directory);
  const fs::path whole = !adapter ? directory : base.empty() ? base_of_adapter(directory) : base;
  model.backbone_ = nn::Backbone::load(whole, device, 0, at::kFloat);
  Tensors tensors = head_tensors(whole, model.backbone_->spec());
  if (adapter) {
    for (const auto& [name, tensor] : fold_adapter(directory, *model.backbone_)) tensors.insert_or_assign(name, tensor);
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
