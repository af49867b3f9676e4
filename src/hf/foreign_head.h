// Heads of reward models that other programs trained, under the names that these programs give them.
#pragma once
#include <ATen/core/Tensor.h>

#include <filesystem>
#include <map>
#include <string>

#include "base/error.h"
#include "nn/backbone_spec.h"

namespace dmoerm::hf {

/// A head as transformers and others compute it: reward = w h + bias, where h is the state or, in BERT, tanh(pooler state).
struct ForeignHead {
  at::Tensor w_D;  ///< float32, on the CPU
  double bias = 0;
  at::Tensor pooler_DD = {};  ///< Undefined without a pooler
  at::Tensor pooler_D = {};   ///< Its bias
};

/// Whether a tensor is one of a head or a pooler, by its plain name: "score.weight".
bool belongs_to_head(const std::string& name);

/// Whether one of some tensors, by plain names, is the weight of a head.
bool holds_head(const std::map<std::string, at::Tensor>& tensors);

/// The refusal of a model or adapter without a head.
/// @param directory  that of the model
/// @param what_to_do  empty: whatever saves a head with such a model or adapter
DataError head_missing(const std::filesystem::path& directory, const nn::BackboneSpec& spec, std::string what_to_do = "");

/// Add the tensors of the file that LLaMA-Factory writes beside a model or adapter, if it is there.
void add_value_head(const std::filesystem::path& directory, std::map<std::string, at::Tensor>& tensors);

/// The head in some tensors, by plain names. @param directory  that of the model, for messages
/// @throws DataError for a missing head, one of several labels or of another width, one that holds NaN or infinity, and an
/// encoder's without a pooler
ForeignHead head_of(const std::filesystem::path& directory, const nn::BackboneSpec& spec,
                    const std::map<std::string, at::Tensor>& tensors);

}  // namespace dmoerm::hf
