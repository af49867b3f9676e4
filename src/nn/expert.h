// An expert: one LoRA adapter on q and v of every layer, or of the top ones, and its value head. y = W x + (alpha / rank) B A
// dropout(x) (PEFT's definition).
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <vector>

#include "nn/backbone_spec.h"
#include "nn/safetensors.h"

namespace dmoerm::nn {

struct LoraSpec {
  std::int64_t rank = 32;
  double alpha = 32.0;
  double dropout = 0.05;         ///< of the adapter's input, in training
  std::int64_t first_layer = 0;  ///< layers below it are not adapted: their states of a text are the base model's
  [[nodiscard]] double scale() const { return alpha / static_cast<double>(rank); }
};

/// The adapter's matrices in one layer. The A matrices of q and v lie side by side, so that both take one product.
struct LoraLayer {
  at::Tensor a_qv;  ///< [2 rank, width]: rows of q's A, then v's
  at::Tensor b_q;   ///< [q width, rank]
  at::Tensor b_v;   ///< [kv width, rank]
};

/// Parameters of one expert as views of one flat buffer; also the shape of its gradients.
class Expert {
 public:
  /// Zeros.
  Expert(const BackboneSpec& spec, const LoraSpec& lora, at::Device device = at::kCPU);

  /// A drawn as PEFT draws it (Kaiming uniform with a = sqrt 5: +-1 / sqrt(width)), B zero, head zero: the base model's hidden
  /// states, until trained.
  void initialise(std::uint64_t seed);

  at::Tensor flat;                ///< [parameters], float32
  std::vector<LoraLayer> layers;  ///< [layers of the backbone]; undefined tensors below lora().first_layer
  at::Tensor head_D;              ///< value head, no bias

  [[nodiscard]] const LoraSpec& lora() const { return lora_; }
  [[nodiscard]] std::size_t first_layer() const { return static_cast<std::size_t>(lora_.first_layer); }
  [[nodiscard]] bool adapts(std::size_t layer) const { return layer >= first_layer(); }
  /// Slices named as PEFT names them for a sequence classifier, score last.
  [[nodiscard]] nn::NamedTensors named() const;

  /// Write adapter_config.json and adapter_model.safetensors, loadable by PEFT on the sequence classifier of the base.
  void save(const std::filesystem::path& directory) const;
  /// Read what save() or PEFT wrote (LoRA on q and v; with or without a head: then zeros).
  /// @throws DataError naming the tensor and both shapes, or the setting that is not supported
  static Expert load(const BackboneSpec& spec, const std::filesystem::path& directory, at::Device device);

 private:
  BackboneSpec spec_;
  LoraSpec lora_;
};

/// Which rows of a packed batch an expert computes, and how its dropout is drawn.
struct ExpertRows {
  const Expert* expert = nullptr;
  std::int64_t first_row = 0, rows = 0;    ///< of the batch's tokens
  std::int64_t first_read = 0, reads = 0;  ///< of its responses
  std::uint64_t dropout_key = 0;           ///< names the masks of this pass; 0 = no dropout
};

}  // namespace dmoerm::nn
