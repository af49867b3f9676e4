#include "hf/compare_bases.h"

#include <ATen/core/Tensor.h>
#include <fmt/format.h>

#include <set>

#include "base/error.h"
#include "hf/foreign_head.h"
#include "nn/model_tensors.h"
#include "nn/weights.h"

namespace dmoerm::hf {

std::string first_difference(const std::filesystem::path& a, const std::filesystem::path& b, const nn::BackboneSpec& spec) {
  const nn::ModelTensors in_a = nn::ModelTensors::open(a, spec), in_b = nn::ModelTensors::open(b, spec);
  std::set<std::int64_t> layers;  // of which at least one tensor was compared
  for (const auto& [name, stored_a] : in_a.all()) {
    const auto found = in_b.all().find(name);
    if (found == in_b.all().end() || belongs_to_head(name)) continue;
    const at::Tensor one = in_a.reader().load(stored_a), other = in_b.reader().load(found->second);
    if (one.sizes() != other.sizes()) return name;
    if (!one.to(other.scalar_type()).equal(other) && !other.to(one.scalar_type()).equal(one)) return name;
    if (const std::int64_t layer = nn::layer_of(name); layer >= 0 && layer < spec.layers) layers.insert(layer);
  }
  if (std::ssize(layers) < spec.layers)
    throw DataError("too-few-tensors-in-common",
                    fmt::format("{} and {} have tensors of the same names in {} of {} layers alone, too few to tell whether they "
                                "are one model: save both with save_pretrained in transformers",
                                a.string(), b.string(), layers.size(), spec.layers));
  return "";
}

}  // namespace dmoerm::hf
