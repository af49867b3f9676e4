// Phase 3: makes one reward of the experts' states or rewards. Shapes: K experts, H width, N responses.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "config/run_config.h"
#include "moe/expert_features.h"

namespace dmoerm::moe {

/// The fitted combination: mean (of standardised rewards), linear (on standardised rewards) or mlp (Linear(KH, H) -> PReLU ->
/// Linear(H, 1) on the concatenated states).
class Aggregator {
 public:
  /// The mean of the experts' rewards, each standardised on `train`: the baseline "mean of experts".
  static Aggregator mean(const ExpertFeatures& train);
  /// Fit one kind ("linear", "mlp") by AdamW on the Bradley-Terry loss, with early stopping on `validation` accuracy. Keeps the
  /// best weights, which may be those of the start: the mean for linear, small random weights for mlp. Deterministic in `seed`.
  /// @param device  device that computes the kind mlp, whose weights stay there
  static Aggregator fit(const std::string& kind, const ExpertFeatures& train, const ExpertFeatures& validation,
                        const config::AggregatorConfig& config, std::uint64_t seed, at::Device device = at::kCPU);
  /// The same on some of the groups, in this order. A step computes only the responses of its own groups.
  /// @param some  indices into the groups of the features
  static Aggregator mean(const ExpertFeatures& features, const std::vector<std::size_t>& some);
  static Aggregator fit(const std::string& kind, const ExpertFeatures& train, const std::vector<std::size_t>& some,
                        const ExpertFeatures& validation, const config::AggregatorConfig& config, std::uint64_t seed,
                        at::Device device = at::kCPU);

  /// Rewards of all responses, or of some rows, [N]. Computes a bounded number of them at a time.
  [[nodiscard]] at::Tensor rewards(const ExpertFeatures& features) const;
  [[nodiscard]] at::Tensor rewards(const ExpertFeatures& features, const std::vector<std::int64_t>& rows) const;
  /// Rewards [N].
  [[nodiscard]] at::Tensor forward(const at::Tensor& states_NKH, const at::Tensor& rewards_NK) const;
  [[nodiscard]] const std::string& kind() const { return kind_; }
  [[nodiscard]] std::int64_t experts() const { return reward_mean_K.size(0); }
  /// The best validation accuracy, and the step that reached it.
  [[nodiscard]] double validation_accuracy() const { return validation_accuracy_; }
  [[nodiscard]] std::int64_t best_step() const { return best_step_; }

  /// Write one safetensors file with the kind and the figures in its metadata.
  void save(const std::filesystem::path& file) const;
  static Aggregator load(const std::filesystem::path& file);

  at::Tensor reward_mean_K, reward_std_K;   ///< Mean of each expert's rewards on the training groups, and spread within them
  at::Tensor weight_K;                      ///< Weights of the kinds linear and mean
  at::Tensor w1_HF, b1_H, slope, w2_H, b2;  ///< Weights of the kind mlp; F = K * H inputs

 private:
  /// Rewards of some rows, [rows], for autograd. @param rows  indices, int64
  [[nodiscard]] at::Tensor forward_rows(const ExpertFeatures& features, const at::Tensor& rows) const;

  std::string kind_;
  double validation_accuracy_ = 0;
  std::int64_t best_step_ = 0;
};

/// How well a kind ("mean", "linear", "mlp") orders groups that it has not seen.
struct HeldOut {
  std::vector<double> right, pairs;  ///< Correct pairs and pairs of each prompt with pairs, in an order that all kinds share
  [[nodiscard]] double accuracy() const;
};
/// Cuts `train` into folds of whole prompts, and orders the pairs of each fold by the aggregator that fit() makes of the others.
/// Choosing between kinds needs this because each kind stops where its validation figure is best, which flatters it. Empty with
/// fewer than two prompts with pairs.
HeldOut held_out(const std::string& kind, const ExpertFeatures& train, const ExpertFeatures& validation,
                 const config::AggregatorConfig& config, std::uint64_t seed, at::Device device = at::kCPU);
/// Whether one kind orders more pairs than another, by more than one standard error of the difference over prompts.
bool clearly_better(const HeldOut& one, const HeldOut& other);
constexpr std::size_t kFolds = 5;

}  // namespace dmoerm::moe
