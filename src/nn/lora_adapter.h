// LoRA (arXiv 2106.09685) on q and v of every layer, or of the top ones, as PEFT defines it:
// y = W x + (alpha / rank) B A dropout(x).
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "nn/backbone_spec.h"
#include "nn/safetensors.h"

namespace dmoerm::nn {

struct LoraSpec {
  std::int64_t rank = 32;
  double alpha = 32.0;
  double dropout = 0.05;         ///< Probability that training drops an input of the adapter
  std::int64_t first_layer = 0;  ///< Lowest adapted layer; below it the states are the base model's
  [[nodiscard]] double scale() const { return alpha / static_cast<double>(rank); }
};

/// The linear layers that an adapter changes in one layer of the backbone, as Weights::named() names them, without ".weight".
struct AdaptedNames {
  std::string q, v;
};
AdaptedNames adapted_names(const BackboneSpec& spec, std::size_t layer);

/// The adapter's matrices in one layer. The A matrices of q and v are one tensor, so that one product computes both.
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

  /// Views of `flat`, whose content stays. @param flat  [parameters(spec, lora)]; float32 for what is trained
  LoraAdapter(const BackboneSpec& spec, const LoraSpec& lora, at::Tensor flat);
  /// An adapter of zeros.
  LoraAdapter(const BackboneSpec& spec, const LoraSpec& lora, at::Device device = at::kCPU);

  /// A fresh adapter: A drawn as PEFT draws it (Kaiming uniform with a = sqrt 5: +-1 / sqrt(width)), B zero, so that it leaves
  /// the base model's states unchanged until it is trained.
  void initialise(std::uint64_t seed);

  /// A copy in another dtype, for products with states of that dtype.
  [[nodiscard]] LoraAdapter in(at::ScalarType dtype) const;

  at::Tensor flat;                ///< [parameters], float32 unless the adapter is a copy in another dtype
  std::vector<LoraLayer> layers;  ///< One entry per layer of the backbone; its tensors are undefined below lora().first_layer

  [[nodiscard]] const LoraSpec& lora() const { return lora_; }
  [[nodiscard]] std::size_t first_layer() const { return static_cast<std::size_t>(lora_.first_layer); }
  [[nodiscard]] bool adapts(std::size_t layer) const { return layer >= first_layer(); }
  /// Slices named as PEFT names them on a sequence classifier.
  [[nodiscard]] NamedTensors named() const;

 private:
  BackboneSpec spec_;
  LoraSpec lora_;
};

/// Which rows of a packed batch go through an adapter, and which dropout masks it uses.
struct AdapterRows {
  const LoraAdapter* adapter = nullptr;    ///< Null: the backbone alone
  std::int64_t first_row = 0, rows = 0;    ///< Tokens of the batch
  std::int64_t first_read = 0, reads = 0;  ///< Responses of the batch
  std::uint64_t dropout_key = 0;           ///< Key of this pass's dropout masks; 0 = no dropout
};

}  // namespace dmoerm::nn
