#include "moe/length_share.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace dmoerm::moe {
namespace {

constexpr double kCorrelationMost = 0.03;
constexpr double kShares[] = {0,  .01, .025, .05, .075, .1,  .125, .15, .2, .25, .3, .35,
                              .4, .45, .5,   .55, .6,   .65, .7,   .75, .8, .85, .9, .95};

/// Ranks from 0; equal values share the mean of theirs.
std::vector<double> ranks_of(const std::vector<double>& values) {
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::sort(order, {}, [&](std::size_t i) { return values[i]; });
  std::vector<double> ranks(values.size());
  for (std::size_t begin = 0, end = 0; begin < order.size(); begin = end) {
    while (end < order.size() && values[order[end]] == values[order[begin]]) ++end;
    for (std::size_t i = begin; i < end; ++i) ranks[order[i]] = 0.5 * static_cast<double>(begin + end - 1);
  }
  return ranks;
}

/// 0 where one of the two is constant.
double correlation(const std::vector<double>& a, const std::vector<double>& b) {
  const double mean = 0.5 * (static_cast<double>(a.size()) - 1);  // of ranks, whatever the ties
  double ab = 0, aa = 0, bb = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    ab += (a[i] - mean) * (b[i] - mean);
    aa += (a[i] - mean) * (a[i] - mean);
    bb += (b[i] - mean) * (b[i] - mean);
  }
  return aa > 0 && bb > 0 ? ab / std::sqrt(aa * bb) : 0;
}

std::vector<double> within_groups(std::span<const float> values, const std::vector<ExpertFeatures::Group>& groups) {
  std::vector<double> centred;
  for (const ExpertFeatures::Group& group : groups) {
    if (group.count < 2) continue;
    const auto own = values.subspan(static_cast<std::size_t>(group.first), static_cast<std::size_t>(group.count));
    const double mean = std::accumulate(own.begin(), own.end(), 0.0) / static_cast<double>(group.count);
    for (const float value : own) centred.push_back(value - mean);
  }
  return centred;
}

}  // namespace

double length_share(std::span<const float> values, std::span<const float> lengths,
                    const std::vector<ExpertFeatures::Group>& groups) {
  const std::vector<double> own = within_groups(values, groups), length = within_groups(lengths, groups),
                            length_ranks = ranks_of(length);
  for (const double share : kShares) {
    std::vector<double> rest = own;
    for (std::size_t i = 0; i < rest.size(); ++i) rest[i] -= share * length[i];
    if (correlation(ranks_of(rest), length_ranks) <= kCorrelationMost) return share;
  }
  return 1;
}

}  // namespace dmoerm::moe
