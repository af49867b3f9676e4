#include "evidence/arm_table.h"

#include <nlohmann/json.hpp>
#include <numeric>

#include "nn/pairwise_loss.h"

namespace dmoerm::evidence {

void ArmTable::add(const std::string& arm, const at::Tensor& reward_N) {
  const at::Tensor local = reward_N.to(at::kFloat).contiguous();
  Arm& own = arms_[arm];
  own.sum.resize(tested_.size());
  double total = 0;
  for (std::size_t g = 0; g < tested_.size(); ++g) {
    const moe::ExpertFeatures::Group& group = tested_[g];
    const double right =
        nn::pairs_right({local.const_data_ptr<float>() + group.first, static_cast<std::size_t>(group.count)}, group.pairs);
    const double share = right / static_cast<double>(group.pairs.size());
    own.sum[g] += share;
    total += share;
  }
  own.seeds.push_back(tested_.empty() ? 0.5 : total / static_cast<double>(tested_.size()));
}

nlohmann::json ArmTable::to_json() const {
  nlohmann::json arms = nlohmann::json::object();
  for (const auto& [name, arm] : arms_) {
    std::vector<double> mean;
    for (const double sum : arm.sum) mean.push_back(sum / static_cast<double>(arm.seeds.size()));
    arms[name] = {{"groups", mean}, {"seeds", arm.seeds}};
  }
  return {{"arms", arms}, {"counts", counts_}};
}

}  // namespace dmoerm::evidence
