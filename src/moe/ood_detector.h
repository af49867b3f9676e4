// Tells the prompts of a router's categories from prompts of no category (out of distribution), by the Mahalanobis distance of
// their states to the categories' means.
// @see arXiv:1807.03888 section 2.1; the shrinkage: Ledoit and Wolf, J. Multivariate Analysis 88 (2004)
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "moe/lazy_rows.h"
#include "nn/safetensors.h"

namespace dmoerm::moe {

/// Prompts as the router sees them.
struct RoutedPrompts {
  LazyRows states_ND;                 ///< Pooled states, float32; those of many prompts are on disk
  std::vector<std::int32_t> labels;   ///< Category of each
  std::vector<std::int64_t> numbers;  ///< Number of each prompt's conversation: equal ones are in one fold; empty: all differ
  at::Tensor targets_NC = {};         ///< Probability with which each category should have it; undefined: its own category alone
};

/// A Gaussian a category, all with one covariance, over prompt states of width D.
class OodDetector {
 public:
  /// Fit the means and the covariance on `train`. The threshold is the distance to the nearest category within which `keep_share`
  /// of the prompts lie that the fit has not seen: those of `validation`, and each fifth of `train` under a fit of the others. A
  /// category has a larger one if it would otherwise lose more than five times the share that all lose together. A category with
  /// fewer than 20 of them has none of its own.
  /// @param categories  number of categories
  static OodDetector fit(const RoutedPrompts& train, const RoutedPrompts& validation, std::int64_t categories, double keep_share);

  /// Distance of a state [D] to the nearest category as a multiple of that category's threshold: above 1 means that the prompt
  /// belongs to none. 0 if nothing was fitted.
  [[nodiscard]] double distance(const at::Tensor& state_D) const;
  [[nodiscard]] bool fitted() const { return thresholds_C.defined(); }

  [[nodiscard]] nn::NamedTensors tensors() const;
  /// Take over what tensors() gave. @param load  gives the tensor of a name
  template <class Load>
  static OodDetector of(const Load& load) {
    return {load("ood_means"), load("ood_directions"), load("ood_scales"), load("ood_thresholds")};
  }

  at::Tensor means_CD;       ///< Mean of each category
  at::Tensor directions_RD;  ///< Directions with the largest variance within categories, orthonormal
  at::Tensor scales_R1;      ///< Variance along each of them; the last is the variance along every other direction
  at::Tensor thresholds_C;   ///< Squared distances

 private:
  /// Squared distances of states [N, D] to all categories, [N, C], float64.
  [[nodiscard]] at::Tensor distances(const at::Tensor& states_ND) const;
};

}  // namespace dmoerm::moe
