// The double-layer mixture of experts (arXiv 2403.01197, section 3). The outer, sparse layer routes a prompt to the model of its
// category. Inside it every capability point has an expert, and an aggregator makes one reward of what the experts see. A prompt
// that the router is not sure about goes to the fallback, one model of all categories.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "moe/aggregator.h"
#include "moe/category_router.h"
#include "moe/token_texts.h"
#include "nn/reward_model.h"

namespace dmoerm::moe {

/// Mean and deviation of final rewards, for consumers that want them normalised; scores are raw.
struct ScoreStats {
  double mean = 0, std = 1;
  std::int64_t count = 0;
};
/// Reads {"mean", "std", "count"}, as a task's metrics and a bundle's manifest have them.
ScoreStats stats_of(const nlohmann::json& score);

/// The inner layer of one category.
struct Category {
  std::string name;
  std::vector<std::string> points;
  std::vector<nn::RewardModel> experts;  ///< one a point, adapters over one backbone
  Aggregator aggregator;
  ScoreStats stats;  ///< final rewards on the training groups

  [[nodiscard]] const nn::Backbone& backbone() const { return experts.front().backbone(); }
};

/// What the experts of a category see in N responses.
struct ExpertViews {
  at::Tensor states_NKH;  ///< last-token states, float32, CPU
  at::Tensor rewards_NK;
};

/// Score of one response.
struct Score {
  double reward = 0;
  std::int64_t cut_tokens = 0;             ///< tokens of prompt and response that the model did not read, beyond max_length
  std::map<std::string, double> points{};  ///< capability point -> its expert's reward, standardised on the training groups;
                                           ///< empty when the fallback scored
};

/// A prompt with its responses, scored.
struct GroupScore {
  std::string category;  ///< the category whose model scored; "" = the fallback
  Route route;
  std::vector<Score> responses;
};

class Model {
 public:
  std::shared_ptr<nn::Backbone> backbone;  ///< the pretrained backbone, which the router reads
  CategoryRouter router;
  std::vector<Category> categories;  ///< in the router's order
  nn::RewardModel fallback;
  ScoreStats fallback_stats;  ///< rewards on the validation groups
  ScoringLimits limits;

  [[nodiscard]] Route route(const std::vector<std::int32_t>& prompt) const;
  /// All responses under all experts of a category.
  [[nodiscard]] ExpertViews experts(const Category& category, const TokenTexts& texts) const;
  /// One reward a response, [N].
  [[nodiscard]] at::Tensor aggregate(const Category& category, const ExpertViews& views) const;
  /// Route the prompt, ask the experts, aggregate. A response that is too long with its prompt is cut by itself: neither the
  /// route nor any score depends on the other responses. @param category  a category's name to override the router; "" = route
  /// @throws DataError for an unknown category (lists those that there are)
  [[nodiscard]] GroupScore score(const TokenTexts& texts, const std::string& category = "") const;

  /// @throws DataError listing the categories that there are
  [[nodiscard]] const Category& category(const std::string& name) const;
};

/// Rewards of all responses under one model, [N], on the CPU.
at::Tensor rewards_of(const nn::RewardModel& model, const TokenTexts& texts, const ScoringLimits& limits);

/// Where the parts of a model lie, in a run directory or in a bundle.
struct ModelFiles {
  struct CategoryFiles {
    std::string name;
    std::vector<std::string> points;
    std::filesystem::path base;                  ///< model of phase 1, whose backbone the experts adapt; empty: the shared one
    std::vector<std::filesystem::path> experts;  ///< one directory a point
    std::filesystem::path aggregator;            ///< a file
    ScoreStats stats;
  };
  std::filesystem::path router;
  std::vector<CategoryFiles> categories;
  std::filesystem::path fallback;
  ScoreStats fallback_stats;
};

/// Load all parts. @throws DataError, IoError
Model assemble(const ModelFiles& files, const nn::BackboneSource& source, const ScoringLimits& limits);

}  // namespace dmoerm::moe
