#include "plan/placement.h"

#include <algorithm>
#include <cmath>

namespace dmoerm::plan {

std::vector<Placed> place(std::vector<ReadyTask> ready, std::vector<int> idle, double efficiency_per_doubling) {
  std::ranges::sort(idle);
  std::ranges::sort(ready, [](const ReadyTask& a, const ReadyTask& b) {
    return a.priority != b.priority ? a.priority > b.priority : a.id < b.id;
  });
  if (ready.size() > idle.size()) ready.resize(idle.size());
  std::vector<int> sizes(ready.size(), 1);
  auto left = static_cast<int>(idle.size() - ready.size());
  const auto seconds = [&](std::size_t i) {
    return ready[i].cost / (sizes[i] * std::pow(efficiency_per_doubling, std::log2(sizes[i])));
  };
  for (;;) {  // double the slowest group that may grow
    std::size_t best = ready.size();
    for (std::size_t i = 0; i < ready.size(); ++i) {
      const bool grows = sizes[i] * 2 <= ready[i].ranks_max && sizes[i] <= left;
      if (grows && (best == ready.size() || seconds(i) > seconds(best))) best = i;
    }
    if (best == ready.size()) break;
    left -= sizes[best];
    sizes[best] *= 2;
  }
  std::vector<Placed> placed;
  auto next = idle.begin();
  for (std::size_t i = 0; i < ready.size(); ++i) {
    placed.push_back({ready[i].id, {next, next + sizes[i]}});
    next += sizes[i];
  }
  return placed;
}

}  // namespace dmoerm::plan
