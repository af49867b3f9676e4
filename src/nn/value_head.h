// The last layer of a reward model, which turns a state into a number.
#pragma once
#include <ATen/core/Tensor.h>

#include <string>

#include "nn/backbone_spec.h"

namespace dmoerm::nn {

/// A linear map without bias, in float32, like the head of a transformers sequence classifier with `num_labels=1`.
struct ValueHead {
  at::Tensor w_D;

  /// Rewards [R] of states [R, D], on the states' device.
  [[nodiscard]] at::Tensor rewards(const at::Tensor& states_RD) const;
};

/// The head's name in a transformers sequence classifier: "score.weight" or "classifier.weight".
std::string head_name(const BackboneSpec& spec);

}  // namespace dmoerm::nn
