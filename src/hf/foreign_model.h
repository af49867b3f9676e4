// Reward models that other programs trained, as they saved them.
#pragma once
#include <ATen/core/Tensor.h>

#include <filesystem>
#include <memory>

#include "hf/foreign_head.h"
#include "moe/token_texts.h"
#include "nn/backbone.h"

namespace dmoerm::hf {

/// A sequence classifier of transformers with one label (XForSequenceClassification of a supported family), or a PEFT adapter
/// (LoRA on any linear layers, with or without rank-stabilised scale) over a model. The adapter is folded into the weights.
class ForeignModel {
 public:
  /// @param base  directory of the model that an adapter adapts; empty: the one that adapter_config.json names, looked for beside
  /// the
  ///              adapter, in the folders above it, and from the working directory
  /// @throws DataError for a model without a head or with several labels, an adapter whose head was lost or that changes what
  /// cannot be folded, and a base that is not found; what nn::Backbone::load() throws
  static ForeignModel load(const std::filesystem::path& directory, const std::filesystem::path& base, at::Device device);

  /// What forward passes read from now on. @throws as nn::Backbone::use()
  void use(nn::BaseWeights weights) { backbone_->use(weights); }
  /// Rewards of all responses, [N], float32. Each is computed by itself, and read where transformers reads it: in a decoder at
  /// the last token that is not the model's own padding token, which may be the token with which a template ends.
  [[nodiscard]] at::Tensor rewards(const moe::TokenTexts& texts, const moe::ScoringLimits& limits) const;
  /// The directory that has the tokenizer: the model's own, or that of the base.
  [[nodiscard]] const std::filesystem::path& tokenizer_directory() const { return tokenizer_directory_; }

 private:
  std::shared_ptr<nn::Backbone> backbone_;
  ForeignHead head_;
  std::int64_t pad_id_ = -1;  ///< pad_token_id of config.json; -1: none, or an encoder
  std::filesystem::path tokenizer_directory_;
};

}  // namespace dmoerm::hf
