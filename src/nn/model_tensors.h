// The tensors of a Hugging Face model directory under plain names, whatever program wrote them.
#pragma once
#include <ATen/core/Tensor.h>

#include <filesystem>
#include <map>
#include <string>

#include "nn/backbone_spec.h"
#include "nn/safetensors.h"

namespace dmoerm::nn {

/// Names as transformers gives them to a model without head ("layers.0.mlp.up_proj.weight"), and those of heads ("score.weight").
/// Prefixes of models with a head ("model."), and what torch.compile and wrappers for parallel training put into names
/// ("_orig_mod.", "module."), are left out.
class ModelTensors {
 public:
  /// @throws DataError for a directory without weights (says what lies there), for a quantised checkpoint, for an adapter that is
  /// not merged, and for two tensors with one plain name
  static ModelTensors open(const std::filesystem::path& directory, const BackboneSpec& spec);

  /// The name in the files; "" if the tensor is absent. BERT's norms may have their TensorFlow names there.
  [[nodiscard]] std::string stored_name(const std::string& name) const;
  /// Stored names by plain names.
  [[nodiscard]] const std::map<std::string, std::string>& all() const { return stored_; }
  [[nodiscard]] const SafetensorsReader& reader() const { return reader_; }

 private:
  SafetensorsReader reader_;
  std::map<std::string, std::string> stored_;
};

/// Read a tensor that must have the shape of `slot`. @param stored  name in the files
/// @returns the numbers of the file, float32, on the host
/// @throws DataError naming both shapes, for numbers that are not floating-point, and for NaN or infinity
at::Tensor load_weight(const SafetensorsReader& reader, const std::string& stored, const at::Tensor& slot);
/// The part of load_weight() that reads no data. @param who  what requires the shape, such as "config.json"
void check_weight(const SafetensorsReader& reader, const std::string& stored, const at::Tensor& slot, const char* who);

}  // namespace dmoerm::nn
