// LoRA (arXiv 2106.09685) on q and v of every layer, or of the top ones: y = W x + (alpha / rank) B A dropout(x), PEFT's
// definition.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "nn/backbone_spec.h"
#include "nn/safetensors.h"

namespace dmoerm::nn {

struct LoraSpec {
  std::int64_t rank = 32;
  double alpha = 32.0;
  double dropout = 0.05;         ///< probability that an input of the adapter is dropped, in training
  std::int64_t first_layer = 0;  ///< layers below it are not adapted: their states of a text are the base model's
  [[nodiscard]] double scale() const { return alpha / static_cast<double>(rank); }
};

/// The adapter's matrices in one layer. The A matrices of q and v lie side by side, so that both take one product.
struct LoraLayer {
  at::Tensor a_qv;  ///< [2 rank, width]: rows of q's A, then v's
  at::Tensor b_q;   ///< [q width, rank]
  at::Tensor b_v;   ///< [kv width, rank]
};

/// The matrices of one adapter as views of one flat buffer. The same layout serves their gradients.
class LoraAdapter {
 public:
  /// Numbers that an adapter of this shape holds.
  static std::int64_t parameters(const BackboneSpec& spec, const LoraSpec& lora);

  /// Views of `flat`, whose content stays. @param flat  [parameters(spec, lora)], float32
  LoraAdapter(const BackboneSpec& spec, const LoraSpec& lora, at::Tensor flat);
  /// Zeros.
  LoraAdapter(const BackboneSpec& spec, const LoraSpec& lora, at::Device device = at::kCPU);

  /// A drawn as PEFT draws it (Kaiming uniform with a = sqrt 5: +-1 / sqrt(width)), B zero: the base model's states, until
  /// trained.
  void initialise(std::uint64_t seed);

  at::Tensor flat;                ///< [parameters], float32
  std::vector<LoraLayer> layers;  ///< one entry a layer of the backbone; undefined tensors below lora().first_layer

  [[nodiscard]] const LoraSpec& lora() const { return lora_; }
  [[nodiscard]] std::size_t first_layer() const { return static_cast<std::size_t>(lora_.first_layer); }
  [[nodiscard]] bool adapts(std::size_t layer) const { return layer >= first_layer(); }
  /// Slices named as PEFT names them on a sequence classifier.
  [[nodiscard]] NamedTensors named() const;

 private:
  BackboneSpec spec_;
  LoraSpec lora_;
};

/// Which rows of a packed batch go through an adapter, and how its dropout is drawn.
struct AdapterRows {
  const LoraAdapter* adapter = nullptr;    ///< null: the backbone alone
  std::int64_t first_row = 0, rows = 0;    ///< tokens of the batch
  std::int64_t first_read = 0, reads = 0;  ///< responses of the batch
  std::uint64_t dropout_key = 0;           ///< names the masks of this pass; 0 = no dropout
};

}  // namespace dmoerm::nn
