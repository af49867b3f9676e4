// Several backbones that were fine-tuned from one, stored as one vector of changes and a mask for each: elect, mask and rescale.
// @see arXiv:2405.17461 section 3
#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "nn/safetensors.h"
#include "nn/value_head.h"
#include "nn/weights.h"

namespace dmoerm::nn {

/// What stands for all changes: in each place the sign of their mean, and the largest change of that sign. Tensors by the names
/// of Weights::named(), float32, on the CPU.
NamedTensors elect(const Weights& pretrained, const std::vector<const Weights*>& tuned);

/// One fine-tuned backbone: pretrained + scale * mask * elected.
struct Mask {
  NamedTensors bits;  ///< Eight places a byte, the first in the lowest bit, uint8
  double scale = 0;   ///< Keeps the sum of the absolute changes over all weights; 0 if nothing is masked in
};
Mask mask_of(const Weights& pretrained, const NamedTensors& elected, const Weights& tuned);

/// The places of one of a mask's tensors: 1 where the change is taken and 0 elsewhere, uint8. @param shape  that of the weights
at::Tensor places_of(const at::Tensor& bits, at::IntArrayRef shape);
/// A mask's weights, float32: pretrained + elected * places * scale. All tensors are of one shape and on one device.
at::Tensor masked(const at::Tensor& pretrained, const at::Tensor& elected, const at::Tensor& places, double scale);
/// Turn the pretrained weights into those of a mask, computed in float32.
void apply(const Mask& mask, const NamedTensors& elected, Weights& pretrained);

/// File of elected changes beside the pretrained model.safetensors.
inline constexpr const char* kElectedFile = "elected.safetensors";

/// Write model.safetensors with a mask and a head. @param pretrained  directory of the pretrained model, relative to `directory`
void save_masked(const std::filesystem::path& directory, const Mask& mask, const BackboneSpec& spec, const ValueHead& head,
                 const std::string& pretrained);

/// The mask in a folder that save_masked() wrote.
class MaskFile {
 public:
  /// Nothing for another folder. @throws DataError, IoError if its weights cannot be read
  static std::optional<MaskFile> open(const std::filesystem::path& directory);

  /// Folder of the pretrained model.
  [[nodiscard]] const std::filesystem::path& pretrained() const { return pretrained_; }
  /// @param weights  those of the pretrained model
  /// @throws DataError if a mask is missing or misshapen
  [[nodiscard]] Mask read(const Weights& weights) const;

 private:
  SafetensorsReader reader_;
  double scale_ = 0;
  std::filesystem::path pretrained_;
};

/// The elected changes beside a pretrained model in the order of Weights::named(), on the CPU, in the dtype of the file.
/// @throws DataError if one is missing or misshapen, IoError
NamedTensors read_elected(const std::filesystem::path& directory, const Weights& pretrained);

/// The weights of a directory that save_masked() wrote; nothing for another directory.
/// @throws DataError if the pretrained model or a mask is missing or misshapen
std::optional<Weights> load_masked(const BackboneSpec& spec, const std::filesystem::path& directory, at::Device device,
                                   at::ScalarType dtype);

}  // namespace dmoerm::nn
