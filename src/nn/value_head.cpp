#include "nn/value_head.h"

#include <ATen/ops/mv.h>

namespace dmoerm::nn {

at::Tensor ValueHead::rewards(const at::Tensor& states_RD) const { return at::mv(states_RD, w_D); }

std::string head_name(const BackboneSpec& spec) { return spec.encoder() ? "classifier.weight" : "score.weight"; }

}  // namespace dmoerm::nn
