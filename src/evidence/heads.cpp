#include "evidence/heads.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/mv.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <limits>

namespace dmoerm::evidence {
void LabelledGroups::append(const LabelledGroups& other) {
  groups.insert(groups.end(), other.groups.begin(), other.groups.end());
  fold.insert(fold.end(), other.fold.begin(), other.fold.end());
}

LabelledGroups LabelledGroups::with(const LabelledGroups& others, int times) const {
  LabelledGroups both = *this;
  for (int i = 0; i < times; ++i) both.append(others);
  return both;
}

LabelledGroups LabelledGroups::of_first_folds(std::int64_t folds, bool others) const {
  LabelledGroups some;
  for (std::size_t g = 0; g < groups.size(); ++g) {
    if ((fold[g] < folds) == others) continue;
    some.groups.push_back(groups[g]);
    some.fold.push_back(fold[g]);
  }
  return some;
}

const std::vector<double>& head_strengths() {
  static const std::vector<double> kStrengths = {10, 3, 1, 0.3, 0.1, 0.03, 0.01};
  return kStrengths;
}

const std::vector<double>& residual_strengths() {
  static const std::vector<double> kStrengths = {1000, 300, 100, 30, 10, 3, 1, 0.3};
  return kStrengths;
}

double best_scale(const moe::PairDifferences& of_reward) {
  constexpr double kLoose = 0.1;  // penalty of a single factor
  return std::max(0.0, moe::fit_ridge(of_reward, {}, kLoose).item<double>());
}

namespace {

/// The loss of held-out groups under the heads of their folds times the factor that suits them best. The labels that teach may
/// say other gaps than those that judge, and only the order of a head's rewards is tested.
double loss_at_best_scale(const at::Tensor& x_NF, const std::vector<at::Tensor>& of_folds, const LabelledGroups& judged) {
  const at::Tensor all_NK = at::matmul(x_NF.to(at::kDouble), at::stack(of_folds, 1)),
                   reward_N = at::zeros_like(all_NK.select(1, 0));
  for (std::size_t g = 0; g < judged.groups.size(); ++g) {
    const moe::ExpertFeatures::Group& rows = judged.groups[g];
    reward_N.narrow(0, rows.first, rows.count).copy_(all_NK.narrow(0, rows.first, rows.count).select(1, judged.fold[g]));
  }
  const moe::PairDifferences pairs = moe::pair_differences(reward_N.unsqueeze(1), judged.groups);
  return moe::summed_loss(pairs, at::full({1}, best_scale(pairs), at::kDouble));
}

}  // namespace

Heads fit_heads(const at::Tensor& x_NF, const LabelledGroups& labelled, const std::vector<double>& strengths,
                const LabelledGroups* judged, const Heads* towards, double scale) {
  const auto penalty = [&](const at::Tensor& target_F) {
    return towards == nullptr ? moe::RidgePenalty{} : moe::RidgePenalty{.towards_F = target_F * scale};
  };
  std::vector<moe::PairDifferences> seen, unseen;
  for (std::int64_t fold = 0; fold < kInnerFolds; ++fold) {
    std::vector<std::size_t> in, out;
    for (std::size_t g = 0; g < labelled.groups.size(); ++g) (labelled.fold[g] == fold ? in : out).push_back(g);
    seen.push_back(moe::pair_differences(x_NF, labelled.groups, out));
    unseen.push_back(moe::pair_differences(x_NF, labelled.groups, in));
  }
  Heads best;
  best.held_out_loss = std::numeric_limits<double>::infinity();
  std::vector<at::Tensor> of_folds(static_cast<std::size_t>(kInnerFolds));
  for (const double strength : strengths) {
    double loss = 0;
    for (std::size_t k = 0; k < of_folds.size(); ++k) {
      of_folds[k] =
          moe::fit_ridge(seen[k], penalty(towards == nullptr ? at::Tensor() : towards->without_KF[static_cast<std::int64_t>(k)]),
                         strength, of_folds[k]);
      if (judged == nullptr) loss += moe::summed_loss(unseen[k], of_folds[k]);
    }
    if (judged != nullptr) loss = loss_at_best_scale(x_NF, of_folds, *judged);
    if (loss < best.held_out_loss) {
      best.held_out_loss = loss;
      best.strength = strength;
      best.without_KF = at::stack(of_folds);
    } else if (judged == nullptr && loss > best.held_out_loss * 1.01) {
      break;  // weaker penalties are worse still
    }
  }
  best.all_F = moe::fit_ridge(moe::pair_differences(x_NF, labelled.groups),
                              penalty(towards == nullptr ? at::Tensor() : towards->all_F), best.strength, best.without_KF[0]);
  best.held_out_loss /= std::max<double>(1, static_cast<double>((judged == nullptr ? labelled : *judged).groups.size()));
  return best;
}

at::Tensor out_of_fold(const Heads& heads, const at::Tensor& x_NF, const LabelledGroups& seen) {
  const at::Tensor read_NF = x_NF.to(at::kDouble), all_N = at::mv(read_NF, heads.all_F),
                   others_NK = at::matmul(read_NF, heads.without_KF.t());
  for (std::size_t g = 0; g < seen.groups.size(); ++g) {
    const moe::ExpertFeatures::Group& rows = seen.groups[g];
    all_N.narrow(0, rows.first, rows.count).copy_(others_NK.narrow(0, rows.first, rows.count).select(1, seen.fold[g]));
  }
  return all_N;
}

}  // namespace dmoerm::evidence
