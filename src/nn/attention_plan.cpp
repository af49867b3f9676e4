#include "nn/attention_plan.h"

namespace dmoerm::nn {

AttentionPlan plan_all_rows(const data::PackedBatch& batch, data::PackingRule rule, const HeadShape& shape) {
  AttentionPlan plan{{}, shape, rule == data::PackingRule::causal, {}};
  for (const data::Span& prefix : batch.prefixes) plan.clusters.push_back({{prefix.begin, prefix.length, {}, prefix}});
  std::size_t cluster = 0;  // prefixes come in the order of their responses
  for (const data::PackedResponse& response : batch.responses) {
    const AttentionItem item{response.own.begin, response.own.length, response.prefix, response.own};
    if (response.prefix.length == 0) {
      plan.clusters.push_back({item});
    } else {
      while (batch.prefixes[cluster].begin != response.prefix.begin) ++cluster;
      plan.clusters[cluster].push_back(item);
    }
  }
  return plan;
}

AttentionPlan plan_read_rows(const data::PackedBatch& batch, data::PackingRule rule, const HeadShape& shape) {
  AttentionPlan plan{{}, shape, rule == data::PackingRule::causal, {}};
  std::int32_t last_prefix = -1;
  for (std::size_t i = 0; i < batch.responses.size(); ++i) {
    const data::PackedResponse& response = batch.responses[i];
    const AttentionItem item{static_cast<std::int64_t>(i), 1, response.prefix, response.own};
    const bool joins = response.prefix.length > 0 && response.prefix.begin == last_prefix;
    if (!joins) plan.clusters.emplace_back();
    plan.clusters.back().push_back(item);
    last_prefix = response.prefix.length > 0 ? response.prefix.begin : -1;
  }
  return plan;
}

}  // namespace dmoerm::nn
