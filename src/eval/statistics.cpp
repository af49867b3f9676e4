#include "eval/statistics.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <map>
#include <numeric>

#include "base/error.h"
#include "base/rng.h"
#include "eval/paired_difference.h"

namespace dmoerm::eval {
namespace {

double share(double right, double pairs) { return pairs > 0 ? right / pairs : 0.5; }

/// `statistic(indices)` of resampled indices of prompts.
template <class Statistic>
std::vector<double> draws_of(std::size_t prompts, std::uint64_t seed, int resamples, const Statistic& statistic) {
  std::vector<std::size_t> drawn(prompts);
  Rng rng(seed, "bootstrap");
  std::vector<double> values;
  for (int r = 0; r < resamples; ++r) {
    for (std::size_t& i : drawn) i = rng.below(prompts);
    values.push_back(statistic(drawn));
  }
  return values;
}

std::vector<std::size_t> each_of(std::size_t prompts) {
  std::vector<std::size_t> indices(prompts);
  std::iota(indices.begin(), indices.end(), 0);
  return indices;
}

double accuracy_of(const std::vector<GroupResult>& results, const std::vector<std::size_t>& drawn) {
  double right = 0, pairs = 0;
  for (const std::size_t i : drawn) right += results[i].right, pairs += results[i].pairs;
  return share(right, pairs);
}

}  // namespace

std::vector<GroupResult> by_prompt(const std::vector<GroupResult>& results) {
  std::vector<GroupResult> sums;
  std::map<std::int64_t, std::size_t> place;
  for (const GroupResult& r : results) {
    const auto [found, is_new] = r.prompt < 0 ? std::pair(place.end(), true) : place.try_emplace(r.prompt, sums.size());
    if (is_new) {
      sums.push_back(r);
    } else {
      sums[found->second].right += r.right;
      sums[found->second].pairs += r.pairs;
    }
  }
  return sums;
}

Interval bootstrap_accuracy(const std::vector<GroupResult>& groups, std::uint64_t seed, int resamples) {
  const std::vector<GroupResult> results = by_prompt(groups);
  std::vector<GroupResult> counted;
  std::ranges::copy_if(results, std::back_inserter(counted), [](const GroupResult& r) { return r.pairs > 0; });
  if (counted.empty()) return {0.5, 0.0, 1.0};
  const auto accuracy = [&](const std::vector<std::size_t>& drawn) { return accuracy_of(counted, drawn); };
  const Interval interval =
      percentile_interval(accuracy(each_of(counted.size())), draws_of(counted.size(), seed, resamples, accuracy));
  return interval.low < interval.high ? interval : wilson(interval.value, static_cast<double>(counted.size()));
}

Interval bootstrap_difference(const std::vector<GroupResult>& groups_a, const std::vector<GroupResult>& groups_b,
                              std::uint64_t seed, int resamples) {
  DMOERM_CHECK(groups_a.size() == groups_b.size(), "a paired difference compares the same groups");
  const std::vector<GroupResult> a = by_prompt(groups_a), b = by_prompt(groups_b);
  DMOERM_CHECK(a.size() == b.size(), "a paired difference compares the same prompts");
  std::vector<PairedCluster> clusters;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (a[i].pairs > 0) clusters.push_back({a[i].pairs, (a[i].right - b[i].right) / a[i].pairs});
  }
  if (clusters.empty()) return {0.0, -1.0, 1.0, true};
  const auto difference = [&](const std::vector<std::size_t>& drawn) { return accuracy_of(a, drawn) - accuracy_of(b, drawn); };
  return paired_difference(difference(each_of(a.size())), clusters, draws_of(a.size(), seed, resamples, difference)).interval;
}

double calibration_error(const std::vector<double>& confidence, const std::vector<bool>& right, int bins) {
  DMOERM_CHECK(confidence.size() == right.size(), "every answer has a confidence");
  std::vector<double> gap(static_cast<std::size_t>(bins));  // sum of confidence - right over a bin's members
  for (std::size_t i = 0; i < confidence.size(); ++i) {
    const int bin = std::clamp(static_cast<int>(confidence[i] * bins), 0, bins - 1);
    gap[static_cast<std::size_t>(bin)] += confidence[i] - (right[i] ? 1.0 : 0.0);
  }
  double error = 0;
  for (const double g : gap) error += std::abs(g);
  return confidence.empty() ? 0.0 : error / static_cast<double>(confidence.size());
}

std::string to_string(const Interval& interval) {
  return fmt::format("{:.3f} [{:.3f}, {:.3f}]", interval.value, interval.low, interval.high);
}

}  // namespace dmoerm::eval
