// Backbones that were fine-tuned from one, kept in memory as they are stored (masked_weights.h): the pretrained weights and the
// elected changes once, and a mask for each backbone. A layer is made whole when a pass comes to it, in memory that all of them
// share, and stays there until a pass of another backbone comes to that layer.
#pragma once
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "nn/masked_weights.h"

namespace dmoerm::nn {

/// What the masks of several backbones share.
class ElectedChanges {
 public:
  /// @param directory   of the pretrained model
  /// @param pretrained  its weights, which must stay as they are
  /// @return null if there are no elected changes beside it
  /// @throws DataError if a tensor is missing or misshapen, IoError
  static std::shared_ptr<ElectedChanges> load(const std::filesystem::path& directory, const BackboneSpec& spec,
                                              std::shared_ptr<const Weights> pretrained);

 private:
  friend class MaskedWeights;
  ElectedChanges(std::filesystem::path directory, const BackboneSpec& spec, std::shared_ptr<const Weights> pretrained);

  std::filesystem::path directory_;
  std::shared_ptr<const Weights> pretrained_;
  std::vector<at::Tensor> elected_;               ///< In the order of Weights::named()
  std::vector<std::vector<std::size_t>> layers_;  ///< Numbers of each layer's tensors in that order
  Weights room_;                                  ///< The layers of one backbone, or of several in turn
  std::vector<std::size_t> held_;                 ///< Number of the mask whose layer is there; 0 = none
  std::size_t masks_ = 0;                         ///< Masks so far
  std::mutex mutex_;                              ///< Held by a pass that reads the room
};

/// One of these backbones.
class MaskedWeights {
 public:
  /// @param spec  of the model in `directory`
  /// @return null if the folder holds no mask over these changes
  /// @throws DataError if a mask is missing or misshapen, or the model has other tensors than the pretrained one
  static std::shared_ptr<const MaskedWeights> load(const std::filesystem::path& directory, const BackboneSpec& spec,
                                                   std::shared_ptr<ElectedChanges> shared);

  /// Until it is gone no other backbone makes layers in the shared memory.
  [[nodiscard]] std::unique_lock<std::mutex> take_turn() const { return std::unique_lock(shared_->mutex_); }
  /// Make a layer whole in layers(), unless it is there. Needs take_turn().
  void make(std::size_t layer) const;
  /// Weights in the shared memory, valid after make().
  [[nodiscard]] const std::vector<LayerWeights>& layers() const { return shared_->room_.layers; }
  /// Embeddings of tokens, [T, D], in the weights' dtype. @param ids_T  int64
  [[nodiscard]] at::Tensor embed_tokens(const at::Tensor& ids_T) const;
  /// Weights whose norms outside the layers and embeddings of positions and types are whole in memory of their own, whose layers
  /// are layers(), and whose embed_tokens has no rows. Those of the layers are not among their flat or named ones.
  [[nodiscard]] Weights outside_layers(const BackboneSpec& spec) const;

 private:
  MaskedWeights(std::shared_ptr<ElectedChanges> shared, Mask mask);
  [[nodiscard]] const at::Tensor& pretrained(std::size_t tensor) const { return shared_->pretrained_->named()[tensor].second; }
  void write(std::size_t tensor, const at::Tensor& out) const;

  std::shared_ptr<ElectedChanges> shared_;
  Mask mask_;           ///< On the device of the weights
  std::size_t number_;  ///< From 1
};

}  // namespace dmoerm::nn
