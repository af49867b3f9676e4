#include "evidence/arm_table.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "nn/pairwise_loss.h"

namespace dmoerm::evidence {

namespace {

/// Share of a group's pairs that rewards order correctly; 0 without pairs.
double share_right(const at::Tensor& reward_N, const moe::ExpertFeatures::Group& group) {
  if (group.pairs.empty()) return 0;
  const float* own = reward_N.const_data_ptr<float>() + group.first;
  return nn::pairs_right({own, static_cast<std::size_t>(group.count)}, group.pairs) / static_cast<double>(group.pairs.size());
}

}  // namespace

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
  }
  for (const auto& [arm, features] : weights_) weights[arm] = features;
  return {{"arms", arms}, {"weights", weights}, {"counts", counts_}};
}

}  // namespace dmoerm::evidence
