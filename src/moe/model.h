// The double-layer mixture of experts (arXiv 2403.01197, section 3). The outer, sparse layer routes a prompt to the model of its
// category. In that model every capability point has an expert, and an aggregator makes one reward of the experts' states or
// rewards. If the router is not sure, the prompt goes to the fallback, a single model for all categories. Where it takes two
// categories for nearly as likely, it may mix their rewards.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "moe/aggregator.h"
#include "moe/category_router.h"
#include "moe/token_texts.h"
#include "nn/reward_model.h"

namespace dmoerm::moe {

/// Mean of final rewards and their deviation within groups, for users who normalise them; scores are raw.
struct ScoreStats {
  double mean = 0, std = 1;
  std::int64_t count = 0;
};
/// Reads {"mean", "std", "count"} from a task's metrics or a bundle's manifest.
ScoreStats stats_of(const nlohmann::json& score);
/// A reward of one model at the mean and spread of another's rewards, so that both can be mixed.
double at_scale_of(const ScoreStats& other, double reward, const ScoreStats& own);

/// The inner layer of one category.
struct Category {
  std::string name;
  std::vector<std::string> points;
  std::vector<nn::RewardModel> experts;  ///< One adapter per point, over one backbone
  Aggregator aggregator;
  ScoreStats stats;           ///< Statistics of final rewards on the training groups
  nn::RewardModel base = {};  ///< Model of phase 1, where the aggregator may read its overall reward; else without a backbone

  [[nodiscard]] bool has_base() const { return base.shared_backbone() != nullptr; }
  [[nodiscard]] const nn::Backbone& backbone() const { return experts.front().backbone(); }
};

/// Score of one response.
struct Score {
  double reward = 0;
  std::int64_t cut_tokens = 0;             ///< Tokens of prompt and response beyond max_length, which the model did not read
  std::map<std::string, double> points{};  ///< Capability point -> its expert's reward, standardised by the mean over the
                                           ///< training groups and the spread within them; empty if the fallback scored
  std::vector<double> expert_rewards{};    ///< The experts' rewards before that, in the order of the category's points, and then
                                           ///< the base's where the aggregator reads it
  std::optional<double> base{};            ///< The base's overall reward, standardised, where the aggregator reads it
  std::vector<double> contributions{};     ///< What each of them adds to the reward, in that order; they add up to it. Empty for
                                           ///< aggregators that are no sums
  std::optional<double> second{};          ///< What Route::second adds to the reward, where two categories are mixed. The
                                           ///< contributions are then those to the rest, and all of them add up to the reward
  std::vector<double> second_contributions{};  ///< What each of that category's points, and its base, adds to `second`: with a
                                               ///< number that all responses of the prompt share they add up to it
};

/// A prompt with its responses, scored.
struct GroupScore {
  std::string category;  ///< Category whose model scored, the first of two that are mixed; "" = the fallback
  Route route;           ///< Has no `second` where the category was given
  std::vector<Score> responses;
};

/// What Model::score() is asked about one prompt.
struct ScoreCall {
  const TokenTexts* texts = nullptr;
  std::string category;  ///< Name of the category to use instead of the router's choice; "" = route
};

/// What the experts of a category say about responses, and the rewards that other models over the same backbone give to them.
struct ExpertsAndOthers {
  ExpertFeatures experts;
  at::Tensor others_NM;
};

class Model {
 public:
  std::shared_ptr<nn::Backbone> backbone;  ///< Pretrained backbone, whose states the router reads
  CategoryRouter router;
  std::vector<Category> categories;  ///< Categories in the router's order
  nn::RewardModel fallback;
  ScoreStats fallback_stats;  ///< Statistics of rewards on the validation groups
  ScoringLimits limits;

  [[nodiscard]] Route route(const std::vector<std::int32_t>& prompt) const;
  /// All responses under all experts of a category, and what else any aggregator may read: the base's rewards where the category
  /// has them, lengths, and the prompt's state.
  /// @param others  further models over the category's backbone. Those whose adapters begin at the experts' layer share their
  ///                pass: the layers below are computed once for all of them
  [[nodiscard]] ExpertsAndOthers experts(const Category& category, const TokenTexts& texts,
                                         std::span<const nn::RewardModel* const> others = {}) const;
  /// One reward per response, [N].
  [[nodiscard]] at::Tensor aggregate(const Category& category, const ExpertFeatures& features) const;
  /// Route the prompt, run the experts, aggregate, and mix the rewards of two categories if the route names a second one: both at
  /// the mean and spread of the first one's rewards, in proportion to their probabilities. If a response is too long with its
  /// prompt, only that response's copy of the prompt is cut: neither the route nor any score depends on the other responses.
  /// @param category  name of the category to use instead of the router's choice; "" = route
  /// @throws DataError for an unknown category (lists the known ones)
  [[nodiscard]] GroupScore score(const TokenTexts& texts, const std::string& category = "") const;
  /// score() of several prompts. They share passes up to limits.batch_tokens; the bits are those of score().
  [[nodiscard]] std::vector<GroupScore> score(std::span<const ScoreCall> calls) const;
  /// Scores of all responses by a category's model, or by the fallback if `category` is "". The router is not asked.
  /// @throws DataError for an unknown category (lists the known ones)
  [[nodiscard]] std::vector<Score> scores_in(const std::string& category, const TokenTexts& texts) const;
  /// scores_in() of several prompts, with shared passes.
  [[nodiscard]] std::vector<std::vector<Score>> scores_in(const std::string& category,
                                                          std::span<const TokenTexts* const> texts) const;

  /// @throws DataError for an unknown category (lists the known ones)
  [[nodiscard]] const Category& category(const std::string& name) const;
  /// Statistics of the rewards of a category's model, or of the fallback if `category` is "".
  [[nodiscard]] const ScoreStats& stats(const std::string& category) const;

 private:
  /// scores_in(). @param routed_GD  the states by which the router placed the prompts; undefined if nobody computed them
  [[nodiscard]] std::vector<std::vector<Score>> scores_in(const std::string& category, std::span<const TokenTexts* const> texts,
                                                          const at::Tensor& routed_GD) const;
  /// What the aggregator "gate" reads of prompts, [G, H]: the router's states where these are the same, or else those of a pass.
  [[nodiscard]] at::Tensor states_for_gate(const Category& category, std::span<const TokenTexts* const> texts,
                                           const at::Tensor& routed_GD) const;
};

/// Rewards of all responses under one model, [N], on the CPU.
at::Tensor rewards_of(const nn::RewardModel& model, const TokenTexts& texts, const ScoringLimits& limits);

/// Paths of a model's parts in a run directory or a bundle.
struct ModelFiles {
  struct CategoryFiles {
    std::string name;
    std::vector<std::string> points;
    std::filesystem::path base;                  ///< Model of phase 1 whose backbone the experts adapt; empty: the shared one
    std::filesystem::path base_reward;           ///< Model of phase 1 whose overall reward may be read; empty: none
    std::vector<std::filesystem::path> experts;  ///< One directory per point
    std::filesystem::path aggregator;            ///< File
    ScoreStats stats;
  };
  std::filesystem::path router;
  std::vector<CategoryFiles> categories;
  std::filesystem::path fallback;  ///< empty: the model is assembled without one
  ScoreStats fallback_stats;
};

/// What the aggregator "gate" reads of a prompt under a category's backbone: the mean state after all layers.
inline constexpr PromptReading kGateReading{config::Pooling::mean, 0};
/// Mean states of prompts under a category's backbone, which the aggregator "gate" reads, [prompts, H].
at::Tensor prompt_states(const nn::Backbone& backbone, const std::vector<std::vector<std::int32_t>>& prompts,
                         const ScoringLimits& limits);
/// Logarithm of 1 + the number of tokens of a response.
float log_length(std::size_t tokens);

/// Load all parts. @throws DataError, IoError
Model assemble(const ModelFiles& files, const nn::BackboneSource& source, const ScoringLimits& limits);

}  // namespace dmoerm::moe
