#include "evidence/arm_table.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>

#include "eval/best_of_n.h"
#include "nn/pairwise_loss.h"

namespace dmoerm::evidence {

namespace {

/// Share of a group's pairs that rewards order correctly; 0 without pairs.
double share_right(const at::Tensor& reward_N, const moe::ExpertFeatures::Group& group) {
  if (group.pairs.empty()) return 0;
  const float* own = reward_N.const_data_ptr<float>() + group.first;
  return nn::pairs_right({own, static_cast<std::size_t>(group.count)}, group.pairs) / static_cast<double>(group.pairs.size());
}

double mean_of(const std::vector<double>& values) {
  return std::reduce(values.begin(), values.end()) / static_cast<double>(values.size());
}

}  // namespace

ArmTable::ArmTable(Groups tested, Groups of_equal_length, const ResponseGold& responses)
    : tested_(std::move(tested)), equal_(std::move(of_equal_length)) {
  if (responses.gold.empty()) return;
  std::size_t longest = 0;
  for (const auto& group : tested_) {
    List& list = lists_.emplace_back();
    for (std::int64_t row = group.first; row < group.first + group.count; ++row) {
      const auto r = static_cast<std::size_t>(row);
      if (std::isnan(responses.gold[r])) continue;
      list.rows.push_back(row), list.gold.push_back(responses.gold[r]), list.lengths.push_back(responses.lengths[r]);
    }
    if (!list.gold.empty()) list.mean_gold = mean_of(list.gold);
    longest = std::max(longest, list.rows.size());
  }
  for (std::size_t n = 2; n <= longest; n *= 2) sizes_.push_back(static_cast<std::int64_t>(n));
}

void ArmTable::add_best_of(const float* reward_N, Arm& arm) const {
  std::vector<std::vector<double>> proxies;
  double squares = 0, freedom = 0;
  for (const List& list : lists_) {
    std::vector<double>& proxy = proxies.emplace_back();
    for (const std::int64_t row : list.rows) proxy.push_back(reward_N[row]);
    if (proxy.size() < 2) continue;
    const double mean = mean_of(proxy);
    for (double& reward : proxy) reward -= mean, squares += reward * reward;
    freedom += static_cast<double>(proxy.size() - 1);
  }
  const double spread = squares > 0 ? std::sqrt(squares / freedom) : 1;
  for (const std::int64_t n : sizes_) {
    std::vector<std::array<double, 3>>& sums = arm.best_of[n];
    sums.resize(lists_.size());
    for (std::size_t g = 0; g < lists_.size(); ++g) {
      const List& list = lists_[g];
      if (std::ssize(list.rows) < n) continue;
      const eval::BestOfN best = eval::best_of_n(proxies[g], list.gold, list.lengths, n);
      sums[g][0] += best.gold - list.mean_gold, sums[g][1] += best.proxy / spread, sums[g][2] += best.longest;
    }
  }
}

void ArmTable::add(const std::string& arm, const at::Tensor& reward_N) {
  const at::Tensor local = reward_N.to(at::kFloat).contiguous();
  Arm& own = arms_[arm];
  own.sum.resize(tested_.size());
  own.equal.resize(tested_.size());
  double total = 0;
  for (std::size_t g = 0; g < tested_.size(); ++g) {
    const double share = share_right(local, tested_[g]);
    own.sum[g] += share;
    own.equal[g] += share_right(local, equal_[g]);
    total += share;
  }
  own.seeds.push_back(tested_.empty() ? 0.5 : total / static_cast<double>(tested_.size()));
  add_best_of(local.const_data_ptr<float>(), own);
}

void ArmTable::weigh(const std::string& arm, const std::vector<std::string>& features, const std::vector<double>& weights) {
  double sum = 0;
  for (const double w : weights) sum += std::abs(w);
  for (std::size_t i = 0; i < features.size(); ++i) weights_[arm][features[i]].push_back(sum > 0 ? weights[i] / sum : 0);
}

nlohmann::json ArmTable::to_json() const {
  nlohmann::json arms = nlohmann::json::object(), weights = nlohmann::json::object();
  for (const auto& [name, arm] : arms_) {
    const auto seeds = static_cast<double>(arm.seeds.size());
    nlohmann::json mean = nlohmann::json::array(), equal = nlohmann::json::array();
    for (std::size_t g = 0; g < arm.sum.size(); ++g) {
      mean.push_back(arm.sum[g] / seeds);
      equal.push_back(equal_[g].pairs.empty() ? nlohmann::json() : nlohmann::json(arm.equal[g] / seeds));
    }
    arms[name] = {{"groups", mean}, {"at_equal_length", equal}, {"seeds", arm.seeds}};
    for (const auto& [n, sums] : arm.best_of) {
      nlohmann::json& best = arms[name]["best_of"][std::to_string(n)];
      for (std::size_t g = 0; g < sums.size(); ++g) {
        const bool counts = std::ssize(lists_[g].rows) >= n;
        for (std::size_t k = 0; k < std::size(kBestOfKinds); ++k)
          best[kBestOfKinds[k]].push_back(counts ? nlohmann::json(sums[g][k] / seeds) : nlohmann::json());
      }
    }
  }
  for (const auto& [arm, features] : weights_) weights[arm] = features;
  return {{"arms", arms}, {"weights", weights}, {"counts", counts_}};
}

}  // namespace dmoerm::evidence
