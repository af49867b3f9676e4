#include "moe/held_out.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/rng.h"
#include "moe/fit_groups.h"

namespace dmoerm::moe {

HeldOut held_out(const std::string& kind, const ExpertFeatures& train, const ExpertFeatures& validation,
                 const config::AggregatorConfig& config, std::uint64_t seed, at::Device device) {
  std::vector<std::vector<std::size_t>> prompts = groups_of_prompts(train.groups, numbers_below(train.groups.size()));
  const std::size_t folds = std::min(kFolds, prompts.size());
  HeldOut result;
  if (folds < 2) return result;
  Rng(seed, "aggregator/folds").shuffle(prompts);
  for (std::size_t fold = 0; fold < folds; ++fold) {
    const auto [seen, unseen] = fold_of(prompts, fold, folds);
    const Aggregator aggregator = fit_aggregator(kind, train, seen, validation, config, seed, device);
    const SomeGroups rest = select_groups(train.groups, unseen);
    const at::Tensor rewards_N = aggregator.rewards(train, rest.rows);
    std::size_t g = 0;
    for (std::size_t i = fold; i < prompts.size(); i += folds) {
      result.right.push_back(0), result.pairs.push_back(0);
      for (std::size_t end = g + prompts[i].size(); g < end; ++g) {
        const auto pairs = static_cast<double>(rest.groups[g].pairs.size());
        result.pairs.back() += pairs;
        result.right.back() += pairs * pair_accuracy(rewards_N, {rest.groups[g]});
      }
    }
  }
  return result;
}

double HeldOut::accuracy() const {
  return pairs.empty() ? 0.5 : std::reduce(right.begin(), right.end()) / std::reduce(pairs.begin(), pairs.end());
}

bool clearly_better(const HeldOut& one, const HeldOut& other) {
  const auto n = static_cast<double>(one.right.size());
  double sum = 0, squares = 0;
  for (std::size_t g = 0; g < one.right.size(); ++g) {
    const double difference = one.right[g] - other.right[g];
    sum += difference;
    squares += difference * difference;
  }
  return n > 1 && sum > std::sqrt(n / (n - 1) * std::max(0.0, squares - sum * sum / n));  // rounding may leave less than nothing
}

std::string best_kind(const std::map<std::string, HeldOut>& held_out) {
  // The stack shrinks to the mean as far as prompts left out advise. Few labels cannot tell whether it is better, but they can
  // show that noise has turned its weights round.
  std::string best = clearly_better(held_out.at("mean"), held_out.at("stack")) ? "mean" : "stack";
  for (const char* larger : {"gate", "mlp"}) {
    if (const auto found = held_out.find(larger); found != held_out.end() && clearly_better(found->second, held_out.at(best)))
      best = larger;
  }
  return best;
}

}  // namespace dmoerm::moe
