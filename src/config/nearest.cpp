#include "config/nearest.h"

#include <algorithm>

#include "base/text.h"

namespace dmoerm::config {
namespace {

constexpr std::size_t kLongestWord = 64;  // a longer word is not a misspelt key, and the table is quadratic

std::size_t slips(std::string_view a, std::string_view b) {
  std::vector<std::vector<std::size_t>> cost(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
  for (std::size_t i = 0; i <= a.size(); ++i) {
    for (std::size_t j = 0; j <= b.size(); ++j) {
      if (i == 0 || j == 0) {
        cost[i][j] = i + j;
        continue;
      }
      const std::size_t replaced = cost[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      cost[i][j] = std::min({replaced, cost[i - 1][j] + 1, cost[i][j - 1] + 1});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        cost[i][j] = std::min(cost[i][j], cost[i - 2][j - 2] + 1);
    }
  }
  return cost[a.size()][b.size()];
}

}  // namespace

std::optional<std::string> nearest(std::string_view word, const std::vector<std::string>& candidates) {
  std::optional<std::string> best;
  std::size_t fewest = 0;
  if (word.size() > kLongestWord) return best;
  for (const std::string& candidate : candidates) {
    if (candidate.size() > kLongestWord) continue;
    const std::size_t allowed = std::max(candidate.size(), std::size_t{3}) / 3;
    if (std::max(word.size(), candidate.size()) - std::min(word.size(), candidate.size()) > allowed) continue;
    std::size_t distance = slips(word, candidate);
    if (distance > allowed) distance = slips(lower(word), lower(candidate));
    if (distance <= allowed && (!best || distance < fewest)) {
      best = candidate;
      fewest = distance;
    }
  }
  return best;
}

}  // namespace dmoerm::config
