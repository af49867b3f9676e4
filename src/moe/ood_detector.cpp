#include "moe/ood_detector.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linalg_eigh.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "base/activity.h"

namespace dmoerm::moe {
namespace {

constexpr double kFar = 1e30;                 // distance to a category without a prompt
constexpr std::int64_t kDirectionsMax = 256;  // bounds the size of a bundle; the others share one variance
constexpr std::size_t kFolds = 5;
constexpr std::size_t kOwnThresholdFrom = 20;  // held-out prompts of a category whose own distances count
constexpr double kCategoryLoss = 5;            // a category loses at most this multiple of the share that all lose together

at::Tensor indices(const std::vector<std::int64_t>& rows) {
  return at::tensor(at::ArrayRef<std::int64_t>(rows), at::TensorOptions().dtype(at::kLong));
}

/// Means and covariance of some rows. Categories without a row have an infinite mean, to which nothing is near.
OodDetector gaussians(const LazyRows& states_ND, const std::vector<std::int32_t>& labels, const std::vector<std::int64_t>& rows,
                      std::int64_t categories) {
  const at::Tensor row_N = indices(rows);
  const std::int64_t n = std::ssize(rows), width = states_ND.size(1);
  at::Tensor sums_CD = at::zeros({categories, width}, at::kDouble), counts_C = at::zeros({categories}, at::kDouble);
  std::vector<std::int64_t> category;
  for (const std::int64_t row : rows) category.push_back(labels[static_cast<std::size_t>(row)]);
  const at::Tensor category_N = indices(category);
  states_ND.in_parts(row_N, [&](const at::Tensor& part_RD, std::int64_t first) {
    sums_CD.index_add_(0, category_N.narrow(0, first, part_RD.size(0)), part_RD.to(at::kDouble));
  });
  counts_C.index_add_(0, category_N, at::full({n}, 1.0, at::kDouble));
  OodDetector fitted;
  fitted.means_CD = sums_CD / counts_C.unsqueeze(1);  // 0 / 0 where a category has no row
  at::Tensor products_DD;
  double fourth = 0;  // sum of the rows' squared norms, squared
  states_ND.in_parts(row_N, [&](const at::Tensor& part_RD, std::int64_t first) {
    const at::Tensor means_RD = fitted.means_CD.index_select(0, category_N.narrow(0, first, part_RD.size(0)));
    const at::Tensor rest_RD = part_RD.to(at::kDouble) - means_RD, own_DD = at::matmul(rest_RD.t(), rest_RD);
    products_DD = products_DD.defined() ? products_DD.add_(own_DD) : own_DD;
    fourth += rest_RD.square().sum(1).square().sum().item<double>();
  });
  const at::Tensor covariance_DD = products_DD / static_cast<double>(n);
  // Ledoit and Wolf: the weight of the sphere that minimises the expected squared error.
  const double mean = covariance_DD.trace().item<double>() / static_cast<double>(width);
  const double square = covariance_DD.square().sum().item<double>();
  const double spread = square - mean * mean * static_cast<double>(width);  // |S - mean I|^2
  const double noise = (fourth / static_cast<double>(n) - square) / static_cast<double>(n);
  const double sphere = spread > 0 ? std::clamp(noise / spread, 0.0, 1.0) : 1.0;
  const auto [values_D, vectors_DD] = at::linalg_eigh(covariance_DD);  // ascending
  const at::Tensor shrunk_D = (values_D.clamp_min(0) * (1 - sphere) + sphere * mean).clamp_min(1e-12);
  const std::int64_t kept = std::min(width, kDirectionsMax);
  fitted.directions_RD = vectors_DD.narrow(1, width - kept, kept).t().contiguous();
  const at::Tensor other_1 =
      width > kept ? shrunk_D.narrow(0, 0, width - kept).mean().unsqueeze(0) : at::full({1}, 1.0, at::kDouble);
  fitted.scales_R1 = at::cat({shrunk_D.narrow(0, width - kept, kept), other_1});
  note_activity();
  return fitted;
}

/// The smallest of these values below which a further value of the same kind lies with probability `share` or more; the largest
/// if there are too few. @see arXiv:2107.07511 section 1
double quantile(std::vector<double> values, double share) {
  std::ranges::sort(values);
  const auto place = static_cast<std::size_t>(std::ceil(share * static_cast<double>(values.size() + 1)));
  return values[std::clamp<std::size_t>(place, 1, values.size()) - 1];
}

/// Fold of each row: conversations in turn, in the order of their first rows.
std::vector<std::size_t> folds_of(const RoutedPrompts& prompts) {
  std::vector<std::size_t> folds;
  std::map<std::int64_t, std::size_t> known;
  for (std::size_t i = 0; i < prompts.labels.size(); ++i)
    folds.push_back(prompts.numbers.empty() ? i % kFolds
                                            : known.try_emplace(prompts.numbers[i], known.size()).first->second % kFolds);
  return folds;
}

}  // namespace

at::Tensor OodDetector::distances(const at::Tensor& states_ND) const {
  const std::int64_t kept = directions_RD.size(0);
  const double other = scales_R1[kept].item<double>();
  const at::Tensor weights_R = scales_R1.narrow(0, 0, kept).reciprocal() - 1 / other;
  std::vector<at::Tensor> columns;
  for (std::int64_t c = 0; c < means_CD.size(0); ++c) {
    const at::Tensor rest_ND = states_ND.to(at::kDouble) - means_CD[c];
    const at::Tensor along_NR = at::matmul(rest_ND, directions_RD.t());
    columns.push_back((along_NR.square() * weights_R).sum(1, true) + rest_ND.square().sum(1, true) / other);
  }
  return at::cat(columns, 1);
}

OodDetector OodDetector::fit(const RoutedPrompts& train, const RoutedPrompts& validation, std::int64_t categories,
                             double keep_share) {
  std::vector<std::vector<double>> unseen(static_cast<std::size_t>(categories));
  const auto add = [&](const OodDetector& fitted, const RoutedPrompts& prompts, const std::vector<std::int64_t>& rows) {
    prompts.states_ND.in_parts(indices(rows), [&](const at::Tensor& part_RD, std::int64_t first) {
      const at::Tensor distances_RC = fitted.distances(part_RD);
      for (std::int64_t i = 0; i < part_RD.size(0); ++i) {
        const auto row = static_cast<std::size_t>(rows[static_cast<std::size_t>(first + i)]);
        const std::int32_t own = prompts.labels[row];
        const at::Tensor distance_C = distances_RC[i];
        if (std::isfinite(distance_C[own].item<double>()))  // else the fit knows nothing of its category
          unseen[static_cast<std::size_t>(own)].push_back(distance_C.nan_to_num(kFar, kFar).min().item<double>());
      }
    });
  };
  const std::vector<std::size_t> folds = folds_of(train);
  std::vector<std::int64_t> all;
  for (std::size_t i = 0; i < folds.size(); ++i) all.push_back(static_cast<std::int64_t>(i));
  for (std::size_t fold = 0; fold < kFolds; ++fold) {
    std::vector<std::int64_t> own, others;
    for (const std::int64_t i : all) (folds[static_cast<std::size_t>(i)] == fold ? own : others).push_back(i);
    if (!own.empty() && !others.empty()) add(gaussians(train.states_ND, train.labels, others, categories), train, own);
  }
  OodDetector detector = gaussians(train.states_ND, train.labels, all, categories);
  std::vector<std::int64_t> rows;
  for (std::size_t i = 0; i < validation.labels.size(); ++i) rows.push_back(static_cast<std::int64_t>(i));
  add(detector, validation, rows);

  std::vector<double> together;
  for (const std::vector<double>& own : unseen) together.insert(together.end(), own.begin(), own.end());
  if (together.empty()) return {};  // a single prompt shows no distance
  detector.thresholds_C = at::zeros({categories}, at::kDouble);
  for (std::int64_t c = 0; c < categories; ++c) {
    const std::vector<double>& own = unseen[static_cast<std::size_t>(c)];
    const double at_least =
        own.size() < kOwnThresholdFrom ? 0 : quantile(own, std::max(0.0, 1 - kCategoryLoss * (1 - keep_share)));
    detector.thresholds_C[c] = std::max({quantile(together, keep_share), at_least, 1e-12});
  }
  return detector;
}

double OodDetector::distance(const at::Tensor& state_D) const {
  if (!fitted()) return 0;
  const at::Tensor relative_C = (distances(state_D.unsqueeze(0))[0] / thresholds_C).nan_to_num(kFar, kFar);
  return std::sqrt(relative_C.min().item<double>());
}

nn::NamedTensors OodDetector::tensors() const {
  if (!fitted()) return {};
  return {
      {"ood_means", means_CD}, {"ood_directions", directions_RD}, {"ood_scales", scales_R1}, {"ood_thresholds", thresholds_C}};
}

}  // namespace dmoerm::moe
