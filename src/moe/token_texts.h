// Texts as a model reads them: ids of a prompt and its responses, cut to what the model takes, and their states.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "data/group_layout.h"
#include "data/token_store.h"
#include "nn/backbone.h"

namespace dmoerm::moe {

/// A prompt and its responses as token ids, whole.
struct TokenTexts {
  std::vector<std::int32_t> prompt;
  std::vector<std::vector<std::int32_t>> responses;  ///< prompt and response together, one at least
};

/// The texts of a stored group.
TokenTexts texts_of(const data::TokenGroup& group);

struct ScoringLimits {
  data::LayoutLimits layout;
  std::int64_t batch_tokens = 2048;  ///< most tokens of one forward pass, unless a response alone is longer
};

/// The prompt as the router reads it, cut as if it stood alone.
std::vector<std::int32_t> routed_prompt(const std::vector<std::int32_t>& prompt, const ScoringLimits& limits);

/// Responses to one prompt, laid out for one backbone. Those that fit share the prompt's tokens. One that is too long stands
/// alone with a prompt cut for it: what it is scored beside keeps the whole prompt, and no state depends on the others.
class PackedTexts {
 public:
  PackedTexts(const TokenTexts& texts, const nn::Backbone& backbone, const ScoringLimits& limits);

  /// Final states under several adapters over the backbone, [N, K, H], float32 on the CPU. As many adapters as `batch_tokens`
  /// holds copies of the texts share a pass; what lies below their adapted layers is computed once for all of them.
  /// @param adapters  a null one is the backbone alone
  [[nodiscard]] at::Tensor states(const std::vector<const nn::LoraAdapter*>& adapters) const;
  /// Tokens of each response, prompt included, that were cut away.
  [[nodiscard]] std::vector<std::int64_t> cut_tokens() const;

 private:
  /// Responses that share one prompt, in parts of bounded size.
  struct Pack {
    std::vector<std::int64_t> which;  ///< indices of the responses
    data::GroupLayout layout;
    data::TokenGroup group;  ///< spans of `layout`
    std::vector<std::vector<std::int32_t>> parts;
  };
  void add(const TokenTexts& texts, std::vector<std::int64_t> which);
  [[nodiscard]] at::Tensor states(const std::vector<const nn::LoraAdapter*>& adapters, const Pack& pack) const;

  const nn::Backbone& backbone_;
  ScoringLimits limits_;
  std::vector<std::int64_t> lengths_;
  std::vector<Pack> packs_;
};

}  // namespace dmoerm::moe
