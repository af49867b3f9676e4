#include "train/soft_gaps.h"

#include <cmath>
#include <functional>
#include <map>

namespace dmoerm::train {
namespace {

/// Call `use` with each pair that has a gap of scores, the gap, and the pair's category.
void each_gap(const data::TokenStore& store, std::string_view label, std::vector<LabelledGroup>& groups,
              const std::function<void(preference::Preference&, double, std::int32_t)>& use) {
  for (LabelledGroup& group : groups) {
    const std::vector<double> scores = store.scores(group.group, label);
    const auto score = [&](std::int32_t place) {
      return scores[static_cast<std::size_t>(group.responses[static_cast<std::size_t>(place)])];
    };
    for (preference::Preference& pair : group.pairs) {
      const double gap = score(pair.winner) - score(pair.loser);
      if (gap > 0 && pair.margin == 0 && pair.target == 1) use(pair, gap, store.group(group.group).category);  // not for NaN
    }
  }
}

}  // namespace

void soften_by_gaps(const data::TokenStore& store, std::string_view label, double soft_gaps, std::vector<LabelledGroup>& training,
                    std::vector<LabelledGroup>& validation) {
  if (soft_gaps <= 0) return;
  struct Sum {
    double gaps = 0, pairs = 0;
  };
  std::map<std::int32_t, Sum> sums;  // by category: each may be scored on a scale of its own
  each_gap(store, label, training, [&](preference::Preference&, double gap, std::int32_t category) {
    sums[category].gaps += gap;
    sums[category].pairs += 1;
  });
  const auto soften = [&](preference::Preference& pair, double gap, std::int32_t category) {
    const Sum& sum = sums[category];
    if (sum.pairs > 0) pair.target = static_cast<float>(1 / (1 + std::exp(-gap / (soft_gaps * sum.gaps / sum.pairs))));
  };
  each_gap(store, label, training, soften);
  each_gap(store, label, validation, soften);
}

}  // namespace dmoerm::train
