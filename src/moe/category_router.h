// The outer, sparse layer, which finds the category of a prompt: a linear head on pooled states of the base model, calibrated by
// a temperature, and a measure of how far a prompt lies from those of its categories.
#pragma once
#include <ATen/core/Tensor.h>

#include <filesystem>
#include <functional>
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
  double distance = 0;         ///< Distance to the nearest category; above 1 the prompt counts as one of no category
  std::vector<double> probabilities;  ///< Calibrated probability of each category
};

/// What the router reads of a prompt.
struct PromptReading {
  config::Pooling pooling = config::Pooling::mean;
  std::int64_t layers = 0;  ///< Layers below the states; 0: all, and the last norm
};
PromptReading reading_of(const config::RouterConfig& config, const nn::BackboneSpec& spec);

class CategoryRouter {
 public:
  /// Fit on standardised pooled states by AdamW on the cross-entropy of logits (a single softmax), keeping the step with the
  /// lowest validation loss. Then set the temperature to the one with the lowest validation cross-entropy; 1 without validation
  /// prompts. One error is added to those of the validation prompts, so that a router without errors is not sure of everything.
  /// Last, fit the measure of distance, unless config.keep_share is 1.
  /// @param reading  what the states were read from
  static CategoryRouter fit(std::vector<std::string> categories, const RoutedPrompts& train, const RoutedPrompts& validation,
                            const config::RouterConfig& config, const PromptReading& reading = {});

  /// Route one pooled state [D].
  [[nodiscard]] Route route(const at::Tensor& pooled_D) const;
  [[nodiscard]] const std::vector<std::string>& categories() const { return categories_; }
  [[nodiscard]] const PromptReading& reading() const { return reading_; }
  [[nodiscard]] double temperature() const { return temperature_; }
  [[nodiscard]] double confidence_min() const { return confidence_min_; }

  /// Write router.safetensors and router.json into `directory`.
  void save(const std::filesystem::path& directory) const;
  static CategoryRouter load(const std::filesystem::path& directory);

 private:
  std::vector<std::string> categories_;
  PromptReading reading_;
  double temperature_ = 1, confidence_min_ = 0;
  at::Tensor mean_D, std_D, w_CD, b_C;
  OodDetector ood_;  ///< Reads standardised states
};

/// The beginning of a pooling that was broken off, and who looks on. Both may be absent.
struct PoolingUnderWay {
  at::Tensor done_ND = {};  ///< States of the first prompts, up to the end of a batch
  /// Receives the states so far after each batch. It may throw to break the pooling off.
  std::function<void(const at::Tensor& so_far_ND)> look = {};
};

/// Pooled states of prompts, [N, D]: the mean over their tokens' states, or the last token's state, in the frozen base. Runs in
/// batches of at most `batch_tokens` tokens.
at::Tensor pool_prompts(const nn::Backbone& backbone, const std::vector<std::vector<std::int32_t>>& prompts,
                        const PromptReading& reading, std::int64_t batch_tokens, const PoolingUnderWay& under_way = {});

}  // namespace dmoerm::moe
