// The last layer of a reward model: a state becomes a number.
#pragma once
#include <ATen/core/Tensor.h>

#include <string>

#include "nn/backbone_spec.h"

namespace dmoerm::nn {

/// A linear map without bias, in float32, as `num_labels=1` makes it in transformers.
struct ValueHead {
  at::Tensor w_D;

  /// Rewards [R] of states [R, D], on the states' device.
  [[nodiscard]] at::Tensor rewards(const at::Tensor& states_RD) const;
};

/// The head's name in a transformers sequence classifier: "score.weight" or "classifier.weight".
std::string head_name(const BackboneSpec& spec);

}  // namespace dmoerm::nn
