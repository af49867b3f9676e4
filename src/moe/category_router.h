// The outer, sparse layer, which finds the category of a prompt: a linear head on pooled states of the base model, calibrated by
// a temperature, or clusters of these states; and a measure of how far a prompt lies from those that it was fitted on.
#pragma once
#include <ATen/core/Tensor.h>

#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "config/run_config.h"
#include "moe/ood_detector.h"
#include "nn/backbone.h"

namespace dmoerm::moe {

/// Where a prompt goes.
struct Route {
  std::int32_t category = -1;  ///< Index into the router's categories; -1: unsure or of no category, so the fallback scores
  std::int32_t likeliest = 0;  ///< Category with the highest probability, whatever the threshold
  double confidence = 0;       ///< Calibrated probability of `likeliest`
  double distance = 0;         ///< Distance to the nearest category, or cluster; above 1 the prompt counts as one of no category
  std::vector<double> probabilities;  ///< Calibrated probability of each category
  std::int32_t second = -1;           ///< Category whose rewards are mixed with those of `category`; -1: none
  double second_share = 0;            ///< Share of `second` in the mixed reward; the rest is that of `category`
};

/// What the router reads of a prompt.
struct PromptReading {
  config::Pooling pooling = config::Pooling::mean;
  std::int64_t layers = 0;  ///< Layers below the states; 0: all, and the last norm
};
PromptReading reading_of(const config::RouterConfig& config, const nn::BackboneSpec& spec);

class CategoryRouter {
 public:
  /// Fit on standardised pooled states. A linear head is fitted by AdamW on the cross-entropy of logits (a single softmax) with
  /// the prompts' targets, keeping the step with the lowest validation loss; then the temperature is set to the one with the
  /// lowest validation cross-entropy, 1 without validation prompts. One error is added to those of the validation prompts, so
  /// that a router without errors is not sure of everything. The kind `clusters` finds the clusters of the train prompts; a
  /// prompt's probabilities are the shares of the categories among the train prompts of its cluster and one more, which is of
  /// every category alike. Last, the measure of distance is fitted, unless config.keep_share is 1: to the nearest category, or
  /// cluster. At most kRowsTogether states are read at a time; up to as many prompts are one sum, and the sums of more are added
  /// in order, so that the bits do not depend on where the states are.
  /// @param reading  what the states were read from
  /// @param seed     of the clusters
  /// @see arXiv:2402.05382 for routing by clusters, arXiv:2311.08692 for targets that are made of rewards (moe/reward_targets)
  static CategoryRouter fit(std::vector<std::string> categories, const RoutedPrompts& train, const RoutedPrompts& validation,
                            const config::RouterConfig& config, const PromptReading& reading = {}, std::uint64_t seed = 0);

  /// Route one pooled state [D].
  [[nodiscard]] Route route(const at::Tensor& pooled_D) const;
  [[nodiscard]] const std::vector<std::string>& categories() const { return categories_; }
  [[nodiscard]] const PromptReading& reading() const { return reading_; }
  [[nodiscard]] double temperature() const { return temperature_; }
  [[nodiscard]] double confidence_min() const { return confidence_min_; }
  /// Whether the rewards of two categories may be mixed.
  [[nodiscard]] bool mixes() const { return mix_top_ > 1; }

  /// Write router.safetensors and router.json into `directory`.
  void save(const std::filesystem::path& directory) const;
  static CategoryRouter load(const std::filesystem::path& directory);

 private:
  void fit_head(const RoutedPrompts& train, const RoutedPrompts& validation, const config::RouterConfig& config);
  void fit_clusters(const RoutedPrompts& train, std::int64_t clusters, std::uint64_t seed);
  /// The nearest cluster of a standardised state [D].
  [[nodiscard]] std::int32_t cluster_of(const at::Tensor& x_D) const;
  /// Of a standardised state [D], [C], float64.
  [[nodiscard]] at::Tensor probabilities(const at::Tensor& x_D) const;
  /// Name the second category, if it is nearly as likely as the first.
  void choose_second(Route& route) const;

  std::vector<std::string> categories_;
  PromptReading reading_;
  double temperature_ = 1, confidence_min_ = 0;
  std::int64_t mix_top_ = 1;
  double mix_gap_ = 0;
  at::Tensor mean_D, std_D;
  at::Tensor w_CD, b_C;              ///< The linear head; undefined in a router of clusters
  at::Tensor centres_KD, shares_KC;  ///< Clusters, and the probabilities of their prompts (float64); undefined in a linear router
  OodDetector ood_;                  ///< Reads standardised states
};

/// The tokens of a prompt, by its number.
using TokensOf = std::function<std::span<const std::int32_t>(std::int64_t number)>;

/// The number behind the last prompt of the batch that begins with prompt `first`: the batch has at most `batch_tokens` tokens,
/// but at least one prompt. @param count  number of prompts
std::int64_t end_of_batch(const TokensOf& prompt, std::int64_t first, std::int64_t count, std::int64_t batch_tokens);

/// Pool the prompts [first, end) in one batch, [end - first, D]: the mean over their tokens' states, or the last token's state,
/// in the frozen base.
at::Tensor pool_batch(const nn::Backbone& backbone, const TokensOf& prompt, std::int64_t first, std::int64_t end,
                      const PromptReading& reading);

/// Pooled states of prompts, [N, D], batch by batch.
at::Tensor pool_prompts(const nn::Backbone& backbone, const std::vector<std::vector<std::int32_t>>& prompts,
                        const PromptReading& reading, std::int64_t batch_tokens);

}  // namespace dmoerm::moe
