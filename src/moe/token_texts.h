// Texts as a model reads them: token ids of a prompt and its responses, cut to the model's length, and their states.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "data/group_layout.h"
#include "data/token_store.h"
#include "nn/backbone.h"

namespace dmoerm::moe {

/// A prompt and its responses as token ids, uncut.
struct TokenTexts {
  std::vector<std::int32_t> prompt;
  std::vector<std::vector<std::int32_t>> responses;  ///< Each response with the prompt before it; at least one
};

/// The texts of a stored group.
TokenTexts texts_of(const data::TokenGroup& group);

struct ScoringLimits {
  data::LayoutLimits layout;
  std::int64_t batch_tokens = 2048;  ///< Most tokens of one forward pass, unless a response alone is longer
};

/// The prompt as the router reads it, cut as if it stood alone.
std::vector<std::int32_t> routed_prompt(const std::vector<std::int32_t>& prompt, const ScoringLimits& limits);

/// Responses to one prompt, laid out for one backbone. Responses that fit share the prompt's tokens, and those alone, because the
/// place where a text is divided changes the order in which attention sums. A response that is too long gets a shortened copy of
/// the prompt, and the others keep the whole prompt, so that no state depends on other responses. Equal texts are computed once.
class PackedTexts {
 public:
  PackedTexts(const TokenTexts& texts, const nn::Backbone& backbone, const ScoringLimits& limits);

  /// Final states under several adapters over the backbone, [N, K, H], float32 on the CPU. Adapters share a pass as long as their
  /// copies of the texts fit `batch_tokens`; the layers below the adapted ones are computed once for all of them.
  /// @param adapters  adapters to run; null = the backbone alone
  [[nodiscard]] at::Tensor states(const std::vector<const nn::LoraAdapter*>& adapters) const;
  /// states() of texts to several prompts, over one backbone and with the same limits. They share passes; the bits are those of
  /// states().
  [[nodiscard]] static std::vector<at::Tensor> states(std::span<const PackedTexts> all,
                                                      const std::vector<const nn::LoraAdapter*>& adapters);
  /// Number of tokens cut from each response with its prompt.
  [[nodiscard]] std::vector<std::int64_t> cut_tokens() const;

 private:
  /// Responses that share one copy of the prompt in one pass.
  struct Pack {
    std::vector<std::int64_t> which;  ///< Indices of the responses, without those that repeat another
    data::GroupLayout layout;
    data::TokenGroup group;  ///< Spans of `layout`
    std::vector<std::vector<std::int32_t>> parts;
  };
  /// @param shared  tokens of the prompt with which all of these responses begin
  void add(const TokenTexts& texts, std::vector<std::int64_t> which, std::int64_t shared);
  /// A part of a pack, and where the states of its responses go.
  struct Unit {
    const Pack* pack;
    const std::vector<std::int32_t>* part;
    at::Tensor states_MKH;  ///< View of the pack's result
  };
  class Arrivals;
  void run(std::span<const Unit> units, const std::vector<const nn::LoraAdapter*>& adapters, Arrivals& arrivals) const;
  /// The states of all responses, from those of each pack.
  [[nodiscard]] at::Tensor unpacked(const std::vector<at::Tensor>& packs_MKH) const;

  const nn::Backbone& backbone_;
  ScoringLimits limits_;
  std::vector<std::int64_t> lengths_, first_;  ///< Of each response: its tokens, and the first response that equals it
  std::vector<Pack> packs_;
};

}  // namespace dmoerm::moe
