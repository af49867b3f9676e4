#include "config/defaults.h"

namespace dmoerm::config {

void take_defaults_of_paper(RunConfig& config) {
  config.method = Method::paper;
  config.aggregator.kind = AggregatorKind::paper_mlp;
  config.aggregator.base_reward = false;
  config.experts.train.ties = Ties::none;
}

void take_defaults_of_adapters(RunConfig& config, bool with_phase1_share) {
  constexpr std::int64_t kFolds = 3;
  config.base.lr = config.experts.train.lr;
  if (config.method != Method::paper && !with_phase1_share) config.folds = kFolds;
}

}  // namespace dmoerm::config
