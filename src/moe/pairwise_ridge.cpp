#include "moe/pairwise_ridge.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/diag.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/linalg_cholesky_ex.h>
#include <ATen/ops/linalg_qr.h>
#include <ATen/ops/linalg_solve_triangular.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/mv.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/softplus.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>

#include "base/error.h"
#include "base/rng.h"
#include "moe/fit_groups.h"

namespace dmoerm::moe {
namespace {

constexpr std::int64_t kFeaturesLeftOut = 64;      // more are cross-validated by folds
constexpr std::int64_t kFoldsUnasked = 10;         // where that happens unasked
constexpr std::int64_t kExactWork = 2'000'000;     // prompts * pairs up to which fits without a prompt are exact
constexpr int kStepsMax = 100, kHalvingsMax = 40;  // Newton needs about ten steps and seldom a halving
constexpr double kConverged = 1e-16;               // decrement of the objective, relative to 1 + the objective

at::TensorOptions kDoubles() { return at::TensorOptions().dtype(at::kDouble); }

at::Tensor doubles(const std::vector<double>& values) { return at::tensor(at::ArrayRef<double>(values), kDoubles()); }

/// Losses of pairs without their weights. The threshold of softplus lies above the gaps where it would lose digits.
at::Tensor losses(const at::Tensor& gap, const at::Tensor& target_P) { return at::softplus(-gap, 1, 40) + (1 - target_P) * gap; }

/// Solutions x of matrix x = right, for positive definite matrices [..., R, R] and right sides [..., R].
at::Tensor solve(const at::Tensor& matrix, const at::Tensor& right) {
  const auto [factor, info] = at::linalg_cholesky_ex(matrix);
  if (info.ne(0).any().item<bool>())
    throw NumericError(
        "ridge-direction-free",
        "the ridge regression has no single solution: its penalty leaves a direction free that no pair determines");
  const at::Tensor half = at::linalg_solve_triangular(factor, right.unsqueeze(-1), /*upper=*/false);
  return at::linalg_solve_triangular(factor.transpose(-1, -2), half, /*upper=*/true).squeeze(-1);
}

/// The problem in R coordinates v: w = towards + v, or, in the span of the differences, w = towards + scale * (q v).
struct Problem {
  at::Tensor x_PR, offset_P, target_P, weight_P;  ///< gap = x v + offset
  at::Tensor shape_RR;                            ///< Undefined: identity
  double floor = 0;
  at::Tensor towards_F, scale_F, q_FR;  ///< scale and q are undefined outside the span

  Problem(const PairDifferences& pairs, const RidgePenalty& penalty)
      : x_PR(pairs.difference_PF), target_P(pairs.target_P), weight_P(pairs.weight_P), floor(penalty.floor) {
    const std::int64_t f = x_PR.size(1);
    towards_F = penalty.towards_F.defined() ? penalty.towards_F.to(at::kDouble) : at::zeros({f}, kDoubles());
    offset_P = at::mv(x_PR, towards_F) - pairs.margin_P;
    const at::Tensor shape = penalty.shape.defined() ? penalty.shape.to(at::kDouble) : at::Tensor();
    if (x_PR.size(0) >= f || (shape.defined() && (shape.dim() == 2 || floor > 0))) {
      if (shape.defined()) shape_RR = shape.dim() == 2 ? shape : at::diag(shape);
      return;
    }
    // With a penalty that is the same in all directions the solution lies in the span of the differences.
    scale_F = shape.defined() ? shape.rsqrt() : at::ones({f}, kDoubles());
    at::Tensor r_RP;
    std::tie(q_FR, r_RP) = at::linalg_qr((x_PR * scale_F).t());
    x_PR = r_RP.t().contiguous();
  }

  [[nodiscard]] at::Tensor to_weights(const at::Tensor& v_R) const {
    return towards_F + (q_FR.defined() ? scale_F * at::mv(q_FR, v_R) : v_R);
  }
  /// Coordinates of weights that to_weights() gave; zeros for an undefined tensor.
  [[nodiscard]] at::Tensor to_coordinates(const at::Tensor& weight_F) const {
    if (!weight_F.defined()) return at::zeros({x_PR.size(1)}, kDoubles());
    const at::Tensor v_F = weight_F.to(at::kDouble) - towards_F;
    return q_FR.defined() ? at::mv(q_FR.t(), v_F / scale_F) : v_F;
  }
  [[nodiscard]] at::Tensor penalty_RR(double strength) const {
    const at::Tensor identity_RR = at::eye(x_PR.size(1), kDoubles());
    return (shape_RR.defined() ? shape_RR : identity_RR) * strength + identity_RR * floor;
  }
  [[nodiscard]] Problem some(const at::Tensor& pairs) const {
    Problem part = *this;
    for (at::Tensor* t : {&part.x_PR, &part.offset_P, &part.target_P, &part.weight_P}) *t = t->index_select(0, pairs);
    return part;
  }
  [[nodiscard]] at::Tensor gaps(const at::Tensor& v_R) const { return at::mv(x_PR, v_R) + offset_P; }
  [[nodiscard]] double objective(const at::Tensor& v_R, const at::Tensor& penalty_RR) const {
    return (losses(gaps(v_R), target_P) * weight_P).sum().item<double>() + 0.5 * v_R.dot(at::mv(penalty_RR, v_R)).item<double>();
  }
};

/// Minimum of one problem by Newton's method.
at::Tensor minimum(const Problem& problem, const at::Tensor& penalty_RR, at::Tensor v_R) {
  double now = problem.objective(v_R, penalty_RR);
  for (int step = 0; step < kStepsMax; ++step) {
    const at::Tensor s_P = problem.gaps(v_R).sigmoid();
    const at::Tensor gradient_R = at::mv(problem.x_PR.t(), problem.weight_P * (s_P - problem.target_P)) + at::mv(penalty_RR, v_R);
    const at::Tensor curved_PR = problem.x_PR * (problem.weight_P * s_P * (1 - s_P)).unsqueeze(1);
    const at::Tensor way_R = solve(at::matmul(problem.x_PR.t(), curved_PR) + penalty_RR, gradient_R);
    const double decrement = way_R.dot(gradient_R).item<double>();
    double length = 1;
    at::Tensor next_R = v_R - way_R;
    double then = problem.objective(next_R, penalty_RR);
    for (int i = 0; i < kHalvingsMax && !(then <= now + 1e-12 * std::abs(now)); ++i) {
      length /= 2;
      next_R = v_R - way_R * length;
      then = problem.objective(next_R, penalty_RR);
    }
    v_R = next_R, now = then;
    if (decrement <= kConverged * (1 + std::abs(now))) break;
  }
  return v_R;
}

/// Fits without each of G prompts, all at once. @param v_GR  where they start
at::Tensor minima_without(const Problem& problem, const at::Tensor& prompt_P, const at::Tensor& penalty_RR, at::Tensor v_GR) {
  const std::int64_t r = problem.x_PR.size(1), g = v_GR.size(0);
  const at::Tensor outer = (problem.x_PR.unsqueeze(2) * problem.x_PR.unsqueeze(1)).flatten(1);  // [P, R * R]
  const at::Tensor own_G1 = at::ones({g}, at::TensorOptions().dtype(at::kLong)).cumsum(0).sub(1).unsqueeze(1);
  const at::Tensor weight_GP = at::where(prompt_P.unsqueeze(0) == own_G1, at::zeros({}, kDoubles()), problem.weight_P);
  const auto objectives = [&](const at::Tensor& v) {
    const at::Tensor gap_GP = at::matmul(v, problem.x_PR.t()) + problem.offset_P;
    return (losses(gap_GP, problem.target_P) * weight_GP).sum(1) + 0.5 * (at::matmul(v, penalty_RR) * v).sum(1);
  };
  at::Tensor now_G = objectives(v_GR);
  for (int step = 0; step < kStepsMax; ++step) {
    const at::Tensor s_GP = (at::matmul(v_GR, problem.x_PR.t()) + problem.offset_P).sigmoid();
    const at::Tensor gradient_GR = at::matmul(weight_GP * (s_GP - problem.target_P), problem.x_PR) + at::matmul(v_GR, penalty_RR);
    const at::Tensor curvature_GRR = at::matmul(weight_GP * s_GP * (1 - s_GP), outer).view({g, r, r}) + penalty_RR;
    const at::Tensor way_GR = solve(curvature_GRR, gradient_GR);
    at::Tensor length_G = at::ones({g}, kDoubles()), next_GR = v_GR - way_GR, then_G = objectives(next_GR);
    for (int i = 0; i < kHalvingsMax; ++i) {
      const at::Tensor worse_G = (then_G <= now_G + 1e-12 * now_G.abs()).logical_not();
      if (!worse_G.any().item<bool>()) break;
      length_G = at::where(worse_G, length_G / 2, length_G);
      next_GR = v_GR - way_GR * length_G.unsqueeze(1);
      then_G = objectives(next_GR);
    }
    const at::Tensor open_G = (way_GR * gradient_GR).sum(1) > kConverged * (1 + then_G.abs());
    v_GR = next_GR, now_G = then_G;
    if (!open_G.any().item<bool>()) break;
  }
  return v_GR;
}

/// One step of Newton's method from the fit on all prompts, for each of G prompts left out.
at::Tensor one_step_without(const Problem& problem, const at::Tensor& prompt_P, const at::Tensor& penalty_RR,
                            const at::Tensor& v_R, std::int64_t g) {
  const std::int64_t r = v_R.size(0);
  const at::Tensor s_P = problem.gaps(v_R).sigmoid();
  const at::Tensor slope_PR = problem.x_PR * (problem.weight_P * (s_P - problem.target_P)).unsqueeze(1);
  const at::Tensor curved_PR = problem.x_PR * (problem.weight_P * s_P * (1 - s_P)).unsqueeze(1);
  const at::Tensor all_RR = at::matmul(problem.x_PR.t(), curved_PR) + penalty_RR;
  const at::Tensor own_GR = at::zeros({g, r}, kDoubles()).index_add_(0, prompt_P, slope_PR);
  const at::Tensor own_GRR =
      at::zeros({g, r, r}, kDoubles()).index_add_(0, prompt_P, curved_PR.unsqueeze(2) * problem.x_PR.unsqueeze(1));
  const at::Tensor gradient_GR = slope_PR.sum(0) + at::mv(penalty_RR, v_R) - own_GR;
  return v_R - solve(all_RR - own_GRR, gradient_GR);
}

/// Gaps of all pairs by fits without their own prompt.
at::Tensor left_out_gaps(const Problem& problem, const PairDifferences& pairs, const at::Tensor& penalty_RR,
                         const at::Tensor& v_R, bool exact) {
  const at::Tensor prompt_P = longs(pairs.prompts);
  const at::Tensor v_GR =
      exact ? minima_without(problem, prompt_P, penalty_RR, v_R.expand({pairs.prompt_count, v_R.size(0)}).contiguous())
            : one_step_without(problem, prompt_P, penalty_RR, v_R, pairs.prompt_count);
  return (problem.x_PR * v_GR.index_select(0, prompt_P)).sum(1) + problem.offset_P;
}

/// The pairs inside and outside each fold of prompts.
struct Fold {
  at::Tensor seen, unseen;
};
std::vector<Fold> folds_of(const PairDifferences& pairs, std::int64_t folds, std::uint64_t seed) {
  std::vector<std::int64_t> order(static_cast<std::size_t>(pairs.prompt_count)), fold_of(order.size());
  std::iota(order.begin(), order.end(), std::int64_t{0});
  Rng(seed, "ridge/folds").shuffle(order);
  for (std::size_t i = 0; i < order.size(); ++i)
    fold_of[static_cast<std::size_t>(order[i])] = static_cast<std::int64_t>(i) % folds;
  std::vector<Fold> cut;
  for (std::int64_t fold = 0; fold < folds; ++fold) {
    std::vector<std::int64_t> seen, unseen;
    for (std::size_t p = 0; p < pairs.prompts.size(); ++p)
      (fold_of[static_cast<std::size_t>(pairs.prompts[p])] == fold ? unseen : seen).push_back(static_cast<std::int64_t>(p));
    cut.push_back({longs(seen), longs(unseen)});
  }
  return cut;
}

}  // namespace

PairDifferences pair_differences(const at::Tensor& features_NF, const std::vector<ExpertFeatures::Group>& groups) {
  std::vector<std::size_t> all(groups.size());
  std::iota(all.begin(), all.end(), std::size_t{0});
  return pair_differences(features_NF, groups, all);
}

PairDifferences pair_differences(const at::Tensor& features_NF, const std::vector<ExpertFeatures::Group>& groups,
                                 const std::vector<std::size_t>& some) {
  PairDifferences pairs;
  std::vector<std::int64_t> winner, loser;
  std::vector<double> margin, target, weight;
  std::map<std::int64_t, std::int64_t> number;
  for (const std::size_t g : some) {
    const ExpertFeatures::Group& group = groups[g];
    if (group.pairs.empty()) continue;
    std::int64_t prompt = pairs.prompt_count;
    if (group.prompt >= 0) prompt = number.try_emplace(group.prompt, prompt).first->second;
    pairs.prompt_count = std::max(pairs.prompt_count, prompt + 1);
    for (const preference::Preference& p : group.pairs) {
      winner.push_back(group.first + p.winner), loser.push_back(group.first + p.loser);
      margin.push_back(p.margin), target.push_back(p.target);
      weight.push_back(1.0 / static_cast<double>(group.pairs.size()));
      pairs.prompts.push_back(prompt);
    }
  }
  pairs.difference_PF = features_NF.index_select(0, longs(winner)).to(at::kDouble);
  pairs.difference_PF -= features_NF.index_select(0, longs(loser)).to(at::kDouble);
  if (!pairs.difference_PF.isfinite().all().item<bool>())
    throw DataError("features-not-finite", "a feature of a response is infinite or not a number, so no regression can use it");
  pairs.margin_P = doubles(margin), pairs.target_P = doubles(target), pairs.weight_P = doubles(weight);
  return pairs;
}

at::Tensor fit_ridge(const PairDifferences& pairs, const RidgePenalty& penalty, double strength, const at::Tensor& start) {
  const Problem problem(pairs, penalty);
  if (problem.x_PR.size(0) == 0) return problem.towards_F;
  return problem.to_weights(minimum(problem, problem.penalty_RR(strength), problem.to_coordinates(start)));
}

double summed_loss(const PairDifferences& pairs, const at::Tensor& weight_F) {
  const at::Tensor gap_P = at::mv(pairs.difference_PF, weight_F) - pairs.margin_P;
  return (losses(gap_P, pairs.target_P) * pairs.weight_P).sum().item<double>();
}

at::Tensor gaps_without_prompt(const PairDifferences& pairs, const RidgePenalty& penalty, double strength,
                               const at::Tensor& weight_F, bool exact) {
  DMOERM_CHECK(pairs.difference_PF.size(1) <= kFeaturesLeftOut, "few features, so that each prompt may be left out");
  const Problem problem(pairs, penalty);
  return left_out_gaps(problem, pairs, problem.penalty_RR(strength), problem.to_coordinates(weight_F), exact);
}

RidgeChoice choose_ridge(const PairDifferences& pairs, const RidgePenalty& penalty, const std::vector<double>& strengths,
                         std::int64_t folds, std::uint64_t seed) {
  DMOERM_CHECK(!strengths.empty(), "there is a strength to choose");
  std::vector<std::size_t> order(strengths.size());  // from the largest strength, whose fit is nearest to where Newton starts
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, [&](std::size_t a, std::size_t b) { return strengths[a] > strengths[b]; });
  RidgeChoice choice;
  choice.strength = strengths[order.front()];
  if (pairs.prompt_count < 2) {
    choice.weight_F = fit_ridge(pairs, penalty, choice.strength);
    return choice;
  }
  const Problem problem(pairs, penalty);
  if (folds == 0 && problem.x_PR.size(1) > kFeaturesLeftOut) folds = kFoldsUnasked;
  const std::vector<Fold> cut = folds == 0 ? std::vector<Fold>{} : folds_of(pairs, std::min(folds, pairs.prompt_count), seed);
  const bool exact = pairs.prompt_count * pairs.difference_PF.size(0) <= kExactWork;
  const double groups = problem.weight_P.sum().item<double>();
  choice.held_out_loss.assign(strengths.size(), 0);
  at::Tensor v_R = problem.to_coordinates({}), best_R;
  std::vector<at::Tensor> of_folds(cut.size(), v_R);
  double best = std::numeric_limits<double>::infinity();
  for (const std::size_t s : order) {
    const at::Tensor penalty_RR = problem.penalty_RR(strengths[s]);
    v_R = minimum(problem, penalty_RR, v_R);
    at::Tensor gap_P = cut.empty() ? left_out_gaps(problem, pairs, penalty_RR, v_R, exact) : at::zeros_like(problem.offset_P);
    for (std::size_t f = 0; f < cut.size(); ++f) {
      of_folds[f] = minimum(problem.some(cut[f].seen), penalty_RR, of_folds[f]);
      gap_P.index_copy_(0, cut[f].unseen, problem.some(cut[f].unseen).gaps(of_folds[f]));
    }
    const double loss = (losses(gap_P, problem.target_P) * problem.weight_P).sum().item<double>() / groups;
    choice.held_out_loss[s] = loss;
    if (loss >= best - 1e-12) continue;
    best = loss, best_R = v_R;
    choice.strength = strengths[s], choice.held_out_gap_P = gap_P;
  }
  choice.weight_F = problem.to_weights(best_R);
  return choice;
}

}  // namespace dmoerm::moe
