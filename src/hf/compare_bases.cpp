#include "hf/compare_bases.h"

#include <ATen/core/Tensor.h>

#include "hf/foreign_head.h"
#include "nn/model_tensors.h"

namespace dmoerm::hf {

std::string first_difference(const std::filesystem::path& a, const std::filesystem::path& b, const nn::BackboneSpec& spec) {
  const nn::ModelTensors in_a = nn::ModelTensors::open(a, spec), in_b = nn::ModelTensors::open(b, spec);
  for (const auto& [name, stored_a] : in_a.all()) {
    const auto found = in_b.all().find(name);
    if (found == in_b.all().end() || belongs_to_head(name)) continue;
    const at::Tensor one = in_a.reader().load(stored_a), other = in_b.reader().load(found->second);
    if (one.sizes() != other.sizes()) return name;
    if (!one.to(other.scalar_type()).equal(other) && !other.to(one.scalar_type()).equal(one)) return name;
  }
  return "";
}

}  // namespace dmoerm::hf
