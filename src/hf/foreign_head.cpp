#include "hf/foreign_head.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/isfinite.h>
#include <fmt/format.h>

#include "base/error.h"
#include "nn/safetensors.h"

namespace dmoerm::hf {

namespace fs = std::filesystem;
using Tensors = std::map<std::string, at::Tensor>;

bool belongs_to_head(const std::string& name) {
  for (const char* start : {"score.", "classifier.", "value_head.", "v_head.", "pooler."}) {
    if (name.starts_with(start)) return true;
  }
  return false;
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

}  // namespace dmoerm::hf
