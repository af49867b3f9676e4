#include "evidence/heads.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>

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

LabelledGroups LabelledGroups::without_fold(std::int64_t inner) const {
  LabelledGroups others;
  for (std::size_t g = 0; g < groups.size(); ++g) {
    if (fold[g] == inner) continue;
    others.groups.push_back(groups[g]);
    others.fold.push_back(fold[g]);
  }
  return others;
}

const std::vector<double>& head_strengths() {
  static const std::vector<double> kStrengths = {10, 3, 1, 0.3, 0.1, 0.03, 0.01};
  return kStrengths;
}

const std::vector<double>& residual_strengths() {
  static const std::vector<double> kStrengths = {1000, 300, 100, 30, 10, 3, 1, 0.3};
  return kStrengths;
}

Heads fit_heads(const at::Tensor& x_NF, const LabelledGroups& labelled, const std::vector<double>& strengths,
                const LabelledGroups* judged, const Heads* towards, double scale) {
  if (judged == nullptr) judged = &labelled;
  const auto of_fold = [](const LabelledGroups& groups, std::int64_t fold, bool is_in) {
    std::vector<std::size_t> some;
    for (std::size_t g = 0; g < groups.fold.size(); ++g) {
      if ((groups.fold[g] == fold) == is_in) some.push_back(g);
    }
    return some;
  };
  const auto penalty = [&](const at::Tensor& target_F) {
    return towards == nullptr ? moe::RidgePenalty{} : moe::RidgePenalty{.towards_F = target_F * scale};
  };
  std::vector<moe::PairDifferences> seen, unseen;
  for (std::int64_t fold = 0; fold < kInnerFolds; ++fold) {
    seen.push_back(moe::pair_differences(x_NF, labelled.groups, of_fold(labelled, fold, false)));
    unseen.push_back(moe::pair_differences(x_NF, judged->groups, of_fold(*judged, fold, true)));
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
      loss += moe::summed_loss(unseen[k], of_folds[k]);
    }
    if (loss < best.held_out_loss) {
      best.held_out_loss = loss;
      best.strength = strength;
      best.without_KF = at::stack(of_folds);
    } else if (loss > best.held_out_loss * 1.01) {
      break;  // weaker penalties are worse still
    }
  }
  best.all_F = moe::fit_ridge(moe::pair_differences(x_NF, labelled.groups),
                              penalty(towards == nullptr ? at::Tensor() : towards->all_F), best.strength, best.without_KF[0]);
  best.held_out_loss /= std::max<double>(1, static_cast<double>(judged->groups.size()));
  return best;
}

}  // namespace dmoerm::evidence
