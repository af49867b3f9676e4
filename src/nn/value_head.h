// The last layer of a reward model, which turns a state into a number.
#pragma once
#include <ATen/core/Tensor.h>

#include <map>
#include <string>

#include "nn/backbone_spec.h"
#include "nn/safetensors.h"

namespace dmoerm::nn {

/// A linear map without bias, in float32, like the head of a transformers sequence classifier with `num_labels=1`.
struct ValueHead {
  at::Tensor w_D;

  /// Rewards [R] of states [R, D], on the states' device.
  [[nodiscard]] at::Tensor rewards(const at::Tensor& states_RD) const;
};

/// The head's name in a transformers sequence classifier: "score.weight" or "classifier.weight".
std::string head_name(const BackboneSpec& spec);

/// A head as a transformers sequence classifier stores it. BERT's classifier has a bias, zero here, and reads the first token's
/// state through a pooler with tanh. pooler_tensors() holds one that divides by 4096, where tanh changes nothing that float32
/// keeps, so the head is stored multiplied by 4096. `metadata` belongs into the same file.
struct StoredHead {
  NamedTensors tensors;
  std::map<std::string, std::string> metadata;
};
StoredHead stored_head(const BackboneSpec& spec, const ValueHead& head);
/// The pooler that goes with stored_head() in a whole model; empty for decoders.
NamedTensors pooler_tensors(const BackboneSpec& spec, at::ScalarType dtype);

/// Whether the files hold a head that stored_head() wrote for an encoder, which is linear; others read through a pooler with
/// tanh.
bool is_stored_head(const SafetensorsReader& reader);

/// Read a head from the files of a classifier, with the factor that their metadata name.
/// @param prefix  stands before head_name() in the files
/// @throws DataError for a missing or misshapen head, or a bias that is not zero
void load_stored_head(const SafetensorsReader& reader, const std::string& prefix, const BackboneSpec& spec, ValueHead& head);

}  // namespace dmoerm::nn
