#include "hf/foreign_head.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/isfinite.h>
#include <fmt/format.h>

#include <algorithm>

#include "nn/peft_adapter.h"
#include "nn/safetensors.h"

namespace dmoerm::hf {

namespace fs = std::filesystem;
using Tensors = std::map<std::string, at::Tensor>;

namespace {

/// Modules whose weight is a head.
constexpr const char* kHeads[] = {"score", "classifier", "value_head", "v_head.summary", "v_head"};

}  // namespace

bool belongs_to_head(const std::string& name) {
  for (const char* start : {"score.", "classifier.", "value_head.", "v_head.", "pooler."}) {
    if (name.starts_with(start)) return true;
  }
  return false;
}

bool holds_head(const Tensors& tensors) {
  return std::ranges::any_of(kHeads, [&](const char* name) { return tensors.contains(fmt::format("{}.weight", name)); });
}

DataError head_missing(const fs::path& directory, const nn::BackboneSpec& spec, std::string what_to_do) {
  const std::string own = spec.encoder() ? "classifier" : "score";
  if (what_to_do.empty())
    what_to_do = nn::is_peft_adapter(directory)
                     ? fmt::format("train it with task_type SEQ_CLS, which saves the head, or with modules_to_save [\"{}\"]", own)
                     : "give a sequence classifier with one label";
  return DataError(
      "head-missing",
      fmt::format("{}: the value head (tensor {}.weight, or one called {}.weight or value_head.weight) is missing: this is a "
                  "language model, or the head of a reward model was not saved with it; {}",
                  directory.string(), own, spec.encoder() ? "score" : "classifier", what_to_do));
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
  if (!holds_head(tensors)) throw head_missing(directory, spec);
  for (const std::string name : kHeads) {
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
  if (!spec.encoder()) return head;
  head.pooler_DD = take("pooler.dense.weight");
  head.pooler_D = take("pooler.dense.bias");
  if (!head.pooler_DD.defined() || !head.pooler_D.defined())
    throw DataError(
        "tensor-missing",
        fmt::format("{}: the pooler (bert.pooler.dense) is missing, through which BERT's classifier reads", directory.string()));
  return head;
}

}  // namespace dmoerm::hf
