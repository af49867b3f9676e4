#include "evidence/regime.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <iterator>
#include <string_view>

#include "base/error.h"
#include "base/hash.h"
#include "base/rng.h"
#include "preference/formats_of_groups.h"

namespace dmoerm::evidence {
namespace {

constexpr double kFlippedWithoutRater = 0.3;
constexpr double kEqualLength = 0.1;  // of the longer response
constexpr std::string_view kScored = "-scored";

bool is_flipped(std::uint64_t group, const preference::Preference& pair, double share, std::uint64_t seed) {
  const auto low = static_cast<std::uint64_t>(std::min(pair.winner, pair.loser)),
             high = static_cast<std::uint64_t>(std::max(pair.winner, pair.loser));
  const std::uint64_t drawn = mix64(mix64(seed) ^ group ^ mix64(low << 32 | high));
  return static_cast<double>(drawn >> 11) * 0x1.0p-53 < share;
}

void turn(preference::Preference& pair) { std::swap(pair.winner, pair.loser); }

std::uint64_t key_of(const data::TokenStore& store, std::int64_t group) { return stable_hash(store.group(group).id); }

/// Places of the labelled groups beyond the first `most` in the order of a hash; none if `most` is 0.
std::vector<std::size_t> all_but(std::int64_t most, const std::vector<bool>& labelled, const std::vector<std::int64_t>& groups,
                                 std::uint64_t seed) {
  std::vector<std::pair<std::uint64_t, std::size_t>> order;
  for (std::size_t g = 0; g < labelled.size(); ++g) {
    if (labelled[g]) order.emplace_back(mix64(mix64(seed) ^ static_cast<std::uint64_t>(groups[g])), g);
  }
  std::ranges::sort(order);
  std::vector<std::size_t> others;
  for (auto i = static_cast<std::size_t>(most); most > 0 && i < order.size(); ++i) others.push_back(order[i].second);
  return others;
}

}  // namespace

std::string Regime::name() const {
  const std::string many = prompts == 0 ? "all" : std::to_string(prompts);
  constexpr std::array<const char*, 3> kTaught = {"", "-ties", "-soft"};
  return fmt::format("{}-{}{}{}{}", many, noise, point_noise > 0 ? fmt::format("-points{:.0f}", 100 * point_noise) : "",
                     scored > 0 ? fmt::format("{}{}", kScored, scored) : "", kTaught[static_cast<std::size_t>(taught)]);
}

Regime regime_from(const std::string& name, const std::string& option) {
  Regime regime{.prompts = 0};
  const std::size_t dash = name.find('-'), next = name.find('-', dash + 1);
  const std::string many = name.substr(0, dash);
  if (dash != std::string::npos) {
    std::from_chars(many.data(), many.data() + many.size(), regime.prompts);
    regime.noise = name.substr(dash + 1, next == std::string::npos ? next : next - dash - 1);
    const std::string_view rest = next == std::string::npos ? std::string_view() : std::string_view(name).substr(next);
    if (rest.starts_with("-points30")) regime.point_noise = 0.3;
    if (const std::size_t at = rest.find(kScored); at != std::string_view::npos)
      std::from_chars(rest.data() + at + kScored.size(), rest.data() + rest.size(), regime.scored);
    if (rest.ends_with("-ties")) regime.taught = Regime::Taught::ties;
    if (rest.ends_with("-soft")) regime.taught = Regime::Taught::soft;
  }
  static const std::vector<std::string> kNoises = {"none", "rater", "flip30", "flip40"};
  if (std::ranges::find(kNoises, regime.noise) == kNoises.end() || regime.name() != name)
    throw ConfigError("unknown-regime", fmt::format("{} {}: expected PROMPTS-NOISE such as 80-rater, all-none, 20-flip40, "
                                                    "80-rater-points30, 80-rater-scored40, 80-rater-ties or 80-rater-soft; "
                                                    "NOISE is one of {}",
                                                    option, name, fmt::join(kNoises, ", ")));
  return regime;
}

std::vector<std::string> points_of(const config::CategoryConfig& category) {
  std::vector<std::string> points = category.points;
  std::erase(points, std::string(preference::kFirstRater));
  return points;
}

PairLists pairs_of(const data::TokenStore& store, const std::vector<std::int64_t>& groups, const config::CategoryConfig& category,
                   const std::string& label, preference::Ties ties) {
  PairLists pairs;
  for (const std::int64_t group : groups)
    pairs.push_back(store.preferences(group, label, category.score_gap_min.of(label), ties));
  return pairs;
}

bool equally_long(double a, double b) { return std::abs(a - b) <= kEqualLength * std::max(a, b); }

PairLists of_equal_length(PairLists pairs, const data::TokenStore& store, const std::vector<std::int64_t>& groups) {
  for (std::size_t g = 0; g < groups.size(); ++g) {
    const data::TokenGroup group = store.group(groups[g]);
    const auto length = [&](std::int32_t response) {
      return static_cast<double>(group.responses[static_cast<std::size_t>(response)].size());
    };
    std::erase_if(pairs[g], [&](const preference::Preference& p) { return !equally_long(length(p.winner), length(p.loser)); });
  }
  return pairs;
}

PairLists softened(PairLists pairs, const StoreScores& scores, const std::vector<std::int64_t>& groups, const std::string& label,
                   const std::vector<bool>& counting) {
  double sum = 0, count = 0;
  const auto each = [&](const auto& use) {
    for (std::size_t g = 0; g < groups.size(); ++g) {
      const std::vector<double> score = scores.of(groups[g], label);
      for (preference::Preference& pair : pairs[g])
        use(g, pair, score[static_cast<std::size_t>(pair.winner)] - score[static_cast<std::size_t>(pair.loser)]);
    }
  };
  each([&](std::size_t g, const preference::Preference&, double gap) {
    if (counting[g] && gap > 0) sum += gap, count += 1;  // not for NaN
  });
  each([&](std::size_t, preference::Preference& pair, double gap) {
    if (gap > 0 && count > 0) pair.target = static_cast<float>(1 / (1 + std::exp(-gap * count / sum)));
  });
  return pairs;
}

PairLists flipped(PairLists pairs, const data::TokenStore& store, const std::vector<std::int64_t>& groups, double share,
                  std::uint64_t seed) {
  for (std::size_t g = 0; share > 0 && g < groups.size(); ++g) {
    const std::uint64_t key = key_of(store, groups[g]);
    for (preference::Preference& pair : pairs[g]) {
      if (is_flipped(key, pair, share, seed)) turn(pair);
    }
  }
  return pairs;
}

void keep_labelled(PairLists& pairs, const std::vector<std::int64_t>& groups, std::int64_t prompts, std::uint64_t seed) {
  std::vector<bool> labelled;
  for (const auto& own : pairs) labelled.push_back(!own.empty());
  for (const std::size_t g : all_but(prompts, labelled, groups, seed)) pairs[g].clear();
}

void keep_scored(std::map<std::string, PairLists>& points, const std::vector<std::int64_t>& groups,
                 const std::vector<bool>& counting, std::int64_t prompts, std::uint64_t seed) {
  std::vector<bool> scored;
  for (std::size_t g = 0; g < groups.size(); ++g)
    scored.push_back(counting[g] && std::ranges::any_of(points, [&](const auto& point) { return !point.second[g].empty(); }));
  for (const std::size_t g : all_but(prompts, scored, groups, seed ^ stable_hash(kScored))) {
    for (auto& [name, pairs] : points) pairs[g].clear();
  }
}

PairLists noisy_overall(const data::TokenStore& store, const StoreScores& scores, const std::vector<std::int64_t>& groups,
                        const config::CategoryConfig& category, const Regime& regime, std::uint64_t seed) {
  const std::string overall(preference::kOverall), rater(preference::kFirstRater);
  PairLists pairs = pairs_of(store, groups, category, overall);
  if (regime.noise == "flip30" || regime.noise == "flip40")
    return flipped(std::move(pairs), store, groups, regime.noise == "flip40" ? 0.4 : 0.3, seed);
  if (regime.noise == "none") return pairs;
  pairs = flipped(std::move(pairs), store, groups, kFlippedWithoutRater, seed);
  for (std::size_t g = 0; g < groups.size(); ++g) {
    const std::vector<double> first = scores.of(groups[g], rater);
    const auto rated = [&](std::int32_t response) { return !std::isnan(first[static_cast<std::size_t>(response)]); };
    std::erase_if(pairs[g], [&](const preference::Preference& p) { return rated(p.winner) && rated(p.loser); });
    std::ranges::copy(store.preferences(groups[g], rater, category.score_gap_min.of(rater)), std::back_inserter(pairs[g]));
  }
  return pairs;
}

}  // namespace dmoerm::evidence
