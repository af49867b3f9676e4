#include "run/head_start.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/from_blob.h>

#include <algorithm>
#include <span>
#include <utility>

#include "base/log.h"
#include "moe/pairwise_ridge.h"
#include "plan/task_load.h"

namespace dmoerm::run {
namespace {

/// Strengths of the penalty for each number of a state, strongest first.
constexpr double kStrengths[] = {30, 10, 3, 1, 0.3, 0.1};
constexpr double kLeastSquare = 1e-12;  // of a number that is the same in all states

/// The pairs of some groups with the states of the first model as features, on the first rank.
moe::PairDifferences pairs_of(RunContext& context, const nn::RewardModel& model, const std::vector<train::LabelledGroup>& groups,
                              comm::Communicator& ranks) {
  const train::GroupStates scored = context.scorer(ranks).states({model}, groups);
  if (ranks.rank() != 0) return {};
  return moe::pair_differences(scored.states_NKD.select(1, 0), feature_groups_of(context.store(), groups));
}

/// The head, float64, and the strength that gave it.
std::pair<at::Tensor, double> ridge_head(const moe::PairDifferences& training, const moe::PairDifferences& validation,
                                         const at::Tensor& towards_F) {
  const moe::RidgePenalty penalty{.towards_F = towards_F,
                                  .shape = training.difference_PF.square().mean(0).clamp_min(kLeastSquare)};
  std::vector<double> strengths;
  for (const double strength : kStrengths) strengths.push_back(strength * static_cast<double>(towards_F.numel()));
  if (validation.prompt_count == 0) {
    const moe::RidgeChoice choice = moe::choose_ridge(training, penalty, strengths);
    return {choice.weight_F, choice.strength};
  }
  std::pair<at::Tensor, double> best;
  double least = 0;
  at::Tensor weight_F;
  for (const double strength : strengths) {
    weight_F = moe::fit_ridge(training, penalty, strength, weight_F);
    const double loss = moe::summed_loss(validation, weight_F);
    if (best.first.defined() && loss >= least) continue;
    least = loss;
    best = {weight_F, strength};
  }
  return best;
}

}  // namespace

void start_heads(RunContext& context, std::vector<train::Trainee>& trainees, comm::Communicator& ranks) {
  if (context.config().head.start != config::HeadStart::ridge) return;
  for (train::Trainee& trainee : trainees) {
    if (trainee.training.empty()) continue;
    const auto some = [&](const std::vector<train::LabelledGroup>& groups, const char* split) {
      return train::drawn_groups(groups, plan::kHeadStartGroups, context.config().seed, "head-start/" + trainee.name + split);
    };
    if (context.progress().doing) context.progress().doing("starts the head of " + trainee.name);
    const moe::PairDifferences training = pairs_of(context, trainee.model, some(trainee.training, "/train"), ranks),
                               validation = pairs_of(context, trainee.model, some(trainee.validation, "/validation"), ranks);
    at::Tensor w_D = trainee.model.head().w_D;
    std::vector<float> head(static_cast<std::size_t>(w_D.numel()));
    const at::Tensor new_D = at::from_blob(head.data(), {w_D.numel()});
    if (ranks.rank() == 0) {
      const auto [weight_F, strength] = ridge_head(training, validation, w_D.cpu().to(at::kDouble));
      new_D.copy_(weight_F);
      const double count = std::max(1.0, validation.weight_P.sum().item<double>());  // groups, as the pairs of each weigh 1
      spdlog::info("[head] task={} pairs={} strength={:g} validation_loss={:.4f} instead of {:.4f}", trainee.name,
                   training.target_P.numel(), strength, moe::summed_loss(validation, weight_F) / count,
                   moe::summed_loss(validation, w_D.cpu().to(at::kDouble)) / count);
    }
    ranks.broadcast(std::as_writable_bytes(std::span(head)), 0);
    w_D.copy_(new_D);
  }
}

}  // namespace dmoerm::run
