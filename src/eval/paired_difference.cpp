#include "eval/paired_difference.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>

#include "eval/significance.h"

namespace dmoerm::eval {
namespace {

constexpr double kTail = 0.025;       // of each side of an interval
constexpr double kConvincing = 0.05;  // largest p-value of a difference that counts as shown
constexpr double kSmallPart = 0.25;   // of the width of a resampled interval: what resamples hide may be as much

/// The continued fraction of the incomplete beta function, by Lentz's method.
double beta_fraction(double x, double a, double b) {
  constexpr double kTiny = 1e-300;
  const auto away_from_zero = [](double v) { return std::abs(v) < kTiny ? kTiny : v; };
  double c = 1, d = 1 / away_from_zero(1 - (a + b) * x / (a + 1)), fraction = d;
  for (int m = 1; m <= 10000; ++m) {
    const double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
    const double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
    double step = 1;
    for (const double term : {even, odd}) {
      d = 1 / away_from_zero(1 + term * d);
      c = away_from_zero(1 + term / c);
      step = c * d;
      fraction *= step;
    }
    if (std::abs(step - 1) < 1e-14) break;
  }
  return fraction;
}

double beta_quantile(double share, double a, double b) {
  double low = 0, high = 1;
  for (int i = 0; i < 60; ++i) {
    const double middle = (low + high) / 2;
    (beta_share(middle, a, b) < share ? low : high) = middle;
  }
  return (low + high) / 2;
}

double lower_bound(double share, double n) {
  const double hits = share * n;
  return hits > 0 ? beta_quantile(kTail, hits, n - hits + 1) : 0;
}
double upper_bound(double share, double n) { return 1 - lower_bound(1 - share, n); }

/// Clusters as trials.
struct Trials {
  double all = 0, differing = 0;  ///< Effective numbers
  double gain = 0, loss = 0;      ///< Mean over all clusters of what the first model has more, and less

  Trials(const std::vector<PairedCluster>& clusters, double range) {
    double weights = 0, squares = 0, weights_differing = 0, squares_differing = 0;
    for (const PairedCluster& c : clusters) {
      const double part = std::min(1.0, std::abs(c.difference) / range);
      weights += c.weight, squares += c.weight * c.weight;
      gain += c.difference > 0 ? c.weight * part : 0;
      loss += c.difference < 0 ? c.weight * part : 0;
      if (c.difference != 0) weights_differing += c.weight, squares_differing += c.weight * c.weight;
    }
    if (weights <= 0) return;
    gain = std::min(1.0, gain / weights);
    loss = std::min(1.0 - gain, loss / weights);
    all = weights * weights / squares;
    if (squares_differing > 0) differing = weights_differing * weights_differing / squares_differing;
  }

  /// p-value of a sign test in which all clusters that differ agree: no test of signs can find less.
  [[nodiscard]] double least_p() const { return std::min(1.0, 2 * std::pow(0.5, differing)); }
  [[nodiscard]] bool few() const { return least_p() > kConvincing; }
  /// All clusters differ, and in the same direction.
  [[nodiscard]] bool agree() const { return differing == all && (gain == 0) != (loss == 0); }
};

/// Twice the tail at which the bounds of gain and of loss meet.
double p_of_bounds(const Trials& trials) {
  const double n = trials.all, more = n * std::max(trials.gain, trials.loss), less = n * std::min(trials.gain, trials.loss);
  if (more <= less) return 1;
  const auto tail = [&](double share) { return beta_share(share, more, n - more + 1); };
  double low = 0, high = 1;
  for (int i = 0; i < 60; ++i) {
    const double middle = (low + high) / 2;
    (tail(middle) < 1 - beta_share(middle, less + 1, n - less) ? low : high) = middle;
  }
  return std::min(1.0, 2 * tail(high));
}

}  // namespace

double effective_number(const std::vector<PairedCluster>& clusters) { return Trials(clusters, 1).all; }

double hidden_by_agreement(const std::vector<PairedCluster>& clusters) {
  struct Sums {
    double weights = 0, squares = 0, least = 0, most = 0;
  };
  std::map<std::int64_t, Sums> strata;
  double all = 0, weights = 0, squares = 0;
  for (const PairedCluster& c : clusters) {
    if (c.weight <= 0) continue;
    Sums& own = strata.try_emplace(c.stratum, Sums{0, 0, c.difference, c.difference}).first->second;
    all += c.weight, own.weights += c.weight, own.squares += c.weight * c.weight;
    own.least = std::min(own.least, c.difference), own.most = std::max(own.most, c.difference);
  }
  for (const auto& [number, own] : strata) {
    if (own.most - own.least < kEqualResamples) weights += own.weights, squares += own.squares;
  }
  return weights > 0 ? weights / all * upper_bound(0, weights * weights / squares) : 0;
}

bool resamples_tell(const std::vector<PairedCluster>& clusters, const std::vector<double>& draws, double range) {
  const Interval shown = percentile_interval(0, draws);
  const double width = shown.high - shown.low;
  return width > kEqualResamples && range * hidden_by_agreement(clusters) <= kSmallPart * width;
}

double beta_share(double x, double a, double b) {
  if (x <= 0 || x >= 1) return x <= 0 ? 0 : 1;
  const double front = std::exp(std::lgamma(a + b) - std::lgamma(a) - std::lgamma(b) + a * std::log(x) + b * std::log1p(-x));
  return x < (a + 1) / (a + b + 2) ? front * beta_fraction(x, a, b) / a : 1 - front * beta_fraction(1 - x, b, a) / b;
}

PairedDifference paired_difference(double value, const std::vector<PairedCluster>& clusters, const std::vector<double>& draws,
                                   double range) {
  const Trials trials(clusters, range);
  if (trials.all == 0) return {{value, -range, range, true}, 1};
  const bool tell = resamples_tell(clusters, draws, range);
  PairedDifference found{percentile_interval(value, draws), std::max(bootstrap_p(draws), trials.least_p())};
  if (!tell && !trials.agree()) found.p = std::max(found.p, p_of_bounds(trials));
  if (tell && !trials.few()) return found;
  const double n = trials.all;
  double low = lower_bound(trials.gain, n) - upper_bound(trials.loss, n);
  double high = upper_bound(trials.gain, n) - lower_bound(trials.loss, n);
  if (!trials.few() && trials.agree()) {
    // Enough clusters agree in their signs: the bound nearer to 0 is that of the sign test, on the scale of what they show.
    const double nearer = (2 * std::pow(kTail, 1 / trials.differing) - 1) * (trials.gain - trials.loss);
    (trials.loss == 0 ? low : high) = nearer;
  }
  found.interval = {value, std::min(value, range * low), std::max(value, range * high), true};
  return found;
}

double level_p(const std::vector<PairedCluster>& clusters, const std::vector<double>& draws, double margin) {
  const Trials trials(clusters, 1);
  if (trials.all == 0) return 1;
  const double n = trials.all;
  if (!trials.few() && resamples_tell(clusters, draws)) return std::max(equivalence_p(draws, margin), std::pow(0.5, n));
  if (margin <= 0) return 1;
  const auto as_small = [&](double share) { return share >= 1 ? 1.0 : beta_share(1 - margin, n - share * n, share * n + 1); };
  return std::min(1.0, std::max(as_small(trials.gain), as_small(trials.loss)));
}

}  // namespace dmoerm::eval
