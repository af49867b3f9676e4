#include "eval/best_of_n.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"

namespace dmoerm::eval {
namespace {

/// log of a binomial coefficient; minus infinity if k > n.
double log_choose(double n, double k) {
  return k > n ? -INFINITY : std::lgamma(n + 1) - std::lgamma(k + 1) - std::lgamma(n - k + 1);
}

/// Counts of what has been added, by rank.
class Counts {
 public:
  explicit Counts(std::size_t ranks) : tree_(ranks + 1) {}
  void add(std::size_t rank) {
    for (std::size_t i = rank + 1; i < tree_.size(); i += i & (~i + 1)) ++tree_[i];
  }
  /// How many have at most this rank.
  [[nodiscard]] double up_to(std::size_t rank) const {
    std::int64_t sum = 0;
    for (std::size_t i = rank + 1; i > 0; i &= i - 1) sum += tree_[i];
    return static_cast<double>(sum);
  }

 private:
  std::vector<std::int64_t> tree_;
};

std::vector<std::size_t> ranks_from_zero(const std::vector<double>& values) {
  std::vector<double> sorted = values;
  std::ranges::sort(sorted);
  std::vector<std::size_t> ranks;
  for (const double v : values) ranks.push_back(static_cast<std::size_t>(std::ranges::lower_bound(sorted, v) - sorted.begin()));
  return ranks;
}

}  // namespace

double best_of_n_kl(std::int64_t n) {
  const auto x = static_cast<double>(n);
  return std::log(x) - (x - 1) / x;
}

std::vector<std::int64_t> sizes_up_to(std::int64_t largest) {
  std::vector<std::int64_t> sizes;
  for (std::int64_t n = 1; n < largest; n *= 2) sizes.push_back(n);
  sizes.push_back(largest);
  return sizes;
}

BestOfN best_of_n(const std::vector<double>& proxy, const std::vector<double>& gold, const std::vector<double>& lengths,
                  std::int64_t n) {
  const std::size_t size = proxy.size();
  DMOERM_CHECK(gold.size() == size && lengths.size() == size && n >= 1 && static_cast<std::size_t>(n) <= size,
               "best of n of a list that has at least n responses");
  std::vector<std::size_t> order(size);
  std::iota(order.begin(), order.end(), 0);
  std::ranges::sort(order, {}, [&](std::size_t i) { return proxy[i]; });
  // Weights from the highest rank down, each a ratio of the one before: none overflows.
  std::vector<double> weight(size);
  weight[size - 1] = static_cast<double>(n) / static_cast<double>(size);
  for (std::size_t i = size - 1; i-- > 0;) {
    const auto rank = static_cast<double>(i + 1);
    weight[i] = weight[i + 1] * std::max(0.0, rank - static_cast<double>(n) + 1) / rank;
  }
  BestOfN result;
  const std::vector<std::size_t> length_rank = ranks_from_zero(lengths);
  Counts below(size);  // responses with a lower proxy score, by length
  const double log_subsets = log_choose(static_cast<double>(size), static_cast<double>(n));
  for (std::size_t first = 0; first < size;) {
    std::size_t end = first;
    double block_weight = 0, block_gold = 0;
    Counts block(size);
    while (end < size && proxy[order[end]] == proxy[order[first]]) {
      block_weight += weight[end];
      block_gold += gold[order[end]];
      block.add(length_rank[order[end]]);
      ++end;
    }
    result.proxy += block_weight * proxy[order[first]];
    result.gold += block_weight * block_gold / static_cast<double>(end - first);
    for (std::size_t i = first; i < end; ++i) {
      // Subsets in which this response is picked and the longest: from m shorter ones below it and t of its equals,
      // sum over s of C(t, s) C(m, n-1-s) / (s+1) = (C(m+t+1, n) - C(m, n)) / (t+1).
      const std::size_t rank = length_rank[order[i]];
      const double m = below.up_to(rank), t = block.up_to(rank) - 1;
      const auto k = static_cast<double>(n);
      result.longest += (std::exp(log_choose(m + t + 1, k) - log_subsets) - std::exp(log_choose(m, k) - log_subsets)) / (t + 1);
    }
    for (; first < end; ++first) below.add(length_rank[order[first]]);
  }
  return result;
}

}  // namespace dmoerm::eval
