// The best of n responses, exactly: what a model's pick is worth, over all subsets of n of a list.
#pragma once
#include <cstdint>
#include <vector>

namespace dmoerm::eval {

/// Means over all subsets of n responses of a list.
struct BestOfN {
  double proxy = 0;    ///< Score of the model's pick
  double gold = 0;     ///< Gold score of the model's pick
  double longest = 0;  ///< Share of the subsets in which no response is longer than the pick
};

/// Where several responses share the model's highest score, each is picked with the same probability.
/// @param proxy, gold, lengths  one for each response, N
/// @param n  1 to N
/// @see arXiv:2310.02743; the weight of the i-th lowest of N is C(i-1, n-1) / C(N, n)
BestOfN best_of_n(const std::vector<double>& proxy, const std::vector<double>& gold, const std::vector<double>& lengths,
                  std::int64_t n);

/// Divergence of the best of n from one random response in nats: log n - (n - 1) / n.
double best_of_n_kl(std::int64_t n);

/// 1, 2, 4, ... and `largest` itself.
std::vector<std::int64_t> sizes_up_to(std::int64_t largest);

}  // namespace dmoerm::eval
