// Phase 3: makes one reward of what the experts and the base say. Shapes: K experts, R rewards (K, or K + 1 with the base's), H
// width, N responses.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "config/run_config.h"
#include "moe/expert_features.h"

namespace dmoerm::moe {

/// A fitted combination. z are rewards less their mean, over their spread within groups.
///   mean       the mean of the experts' z
///   stack      a weighted sum of all z; weights by ridge-logistic regression towards the mean
///   mlp        the stack and, added to it, a small network on the standardised states
///   gate       a weighted sum of all z whose weights depend on the prompt; lengths are taken out of z first
///   paper_mlp  Linear(KH, H) -> PReLU -> Linear(H, 1) on the concatenated states
///   wco        the smallest z of the experts
///   uwo        the mean of the experts' z less a price of their variance
class Aggregator {
 public:
  /// Rewards of all responses, or of some rows, [N]. Computes a bounded number of them at a time.
  [[nodiscard]] at::Tensor rewards(const ExpertFeatures& features) const;
  [[nodiscard]] at::Tensor rewards(const ExpertFeatures& features, const std::vector<std::int64_t>& rows) const;
  /// Rewards of some rows, [rows], for autograd. @param rows  indices, int64
  [[nodiscard]] at::Tensor forward(const ExpertFeatures& features, const at::Tensor& rows) const;
  /// What each reward adds to the result, [N, R]; their sum is the result. Undefined for kinds that do not add up.
  [[nodiscard]] at::Tensor contributions(const ExpertFeatures& features) const;
  /// Whether results are sums of contributions.
  [[nodiscard]] bool adds_up() const { return is_sum(kind_); }
  /// The same of a kind by its name, also by the names of version 1.
  static bool is_sum(const std::string& kind);
  /// Rewards of the experts, and of the base if this kind reads it, standardised, [N, R].
  [[nodiscard]] at::Tensor standardised(const ExpertFeatures& features) const;

  [[nodiscard]] const std::string& kind() const { return kind_; }
  [[nodiscard]] bool reads_base() const { return reads_base_; }
  [[nodiscard]] bool reads_prompt() const { return kind_ == "gate"; }
  /// Most that the result changes if each of the rewards that it reads changes by one; 0 if it reads none.
  [[nodiscard]] double sensitivity() const;
  /// The best figure of a fit with steps (accuracy on validation, or less the loss on the fold), and the step that reached it.
  [[nodiscard]] double validation_accuracy() const { return validation_accuracy_; }
  [[nodiscard]] std::int64_t best_step() const { return best_step_; }

  /// Write one safetensors file with the kind and the figures in its metadata.
  void save(const std::filesystem::path& file) const;
  /// @throws DataError for another file, or a kind that this program does not know
  static Aggregator load(const std::filesystem::path& file);

  at::Tensor reward_mean_K, reward_std_K;   ///< Mean of each reward on the training groups, and spread within them, [R]
  at::Tensor weight_K;                      ///< Weights of mean, stack and mlp, [R]
  at::Tensor state_mean_F, state_std_F;     ///< Of the states that mlp reads; F = K * H
  at::Tensor w1_HF, b1_H, slope, w2_H, b2;  ///< Network of mlp and paper_mlp
  at::Tensor prompt_mean_H, prompt_std_H;   ///< Of the prompts' states that gate reads
  at::Tensor gate_w1, gate_b1, gate_w2, gate_b2, log_scale;  ///< Network of gate, and the logarithm of the sum of its weights
  at::Tensor length;                                         ///< Mean and spread of the responses' lengths, [2], and
  at::Tensor length_K;        ///< how much of the standardised length is taken out of each z, [R]; undefined if none is
  double variance_price = 0;  ///< What uwo takes off for a variance of one

 private:
  friend class AggregatorFit;
  [[nodiscard]] at::Tensor read_rewards(const ExpertFeatures& features) const;
  /// What gate weighs, [rows, R]. @param rows  int64
  [[nodiscard]] at::Tensor gated_rewards(const ExpertFeatures& features, const at::Tensor& rows) const;
  /// The weights of gate by prompt, [G, R]. @param groups  int64
  [[nodiscard]] at::Tensor gate_weights(const ExpertFeatures& features, const at::Tensor& groups) const;
  [[nodiscard]] at::Tensor network(const at::Tensor& inputs_NF) const;

  std::string kind_;
  bool reads_base_ = false;
  double validation_accuracy_ = 0;
  std::int64_t best_step_ = 0;
};

}  // namespace dmoerm::moe
