#include "report/score_figures.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "eval/correlation.h"
#include "report/run_facts.h"

namespace dmoerm::report {
namespace {

using nlohmann::json;

constexpr const char* kOverall = "overall";

/// Values less their mean, appended to `all`.
void append_centred(std::vector<double>& all, const std::vector<double>& values) {
  double sum = 0;
  for (const double v : values) sum += v;
  for (const double v : values) all.push_back(v - sum / static_cast<double>(values.size()));
}

/// Calls use(group, better, worse) with each overall pair of the groups that the model scored.
template <class Use>
void for_pairs(const std::vector<ScoredGroup>& groups, const std::string& model, Use use) {
  for (const ScoredGroup& group : groups) {
    const auto pairs = group.pairs.find(kOverall);
    if (pairs == group.pairs.end() || !group.scores.contains(model)) continue;
    for (const auto& [better, worse] : pairs->second) use(group, better, worse);
  }
}

}  // namespace

std::vector<ScoredGroup> groups_of(const json& scores) {
  std::vector<ScoredGroup> groups;
  for (const json& from : scores.at("groups")) {
    ScoredGroup group;
    group.prompt = from.at("prompt");
    group.lengths = from.at("lengths").get<std::vector<double>>();
    group.scores = from.at("scores").get<std::map<std::string, std::vector<double>>>();
    for (const auto& [label, pairs] : from.at("pairs").items()) {
      for (const json& pair : pairs) {
        const std::size_t better = pair.at(0), worse = pair.at(1);
        (void)from.at("lengths").at(std::max(better, worse));
        group.pairs[label].emplace_back(better, worse);
      }
    }
    for (const auto& [model, values] : group.scores) {
      if (values.size() != group.lengths.size())
        throw DataError("scores-of-other-responses",
                        fmt::format("{} has {} scores for {} responses of a group", model, values.size(), group.lengths.size()));
    }
    groups.push_back(std::move(group));
  }
  return groups;
}

CalibrationFigures calibration_of(const std::vector<ScoredGroup>& groups, const std::string& model) {
  std::vector<double> gaps;
  for_pairs(groups, model, [&](const ScoredGroup& group, std::size_t better, std::size_t worse) {
    gaps.push_back(group.scores.at(model)[better] - group.scores.at(model)[worse]);
  });
  CalibrationFigures figures{eval::reliability(gaps), static_cast<double>(gaps.size()), 0, {}};
  figures.error = eval::calibration_error(figures.bins);
  if (!gaps.empty()) figures.temperature = eval::best_temperature(gaps);
  return figures;
}

Correlations correlations_of(const std::vector<ScoredGroup>& groups, const std::vector<std::string>& points,
                             const std::vector<std::string>& extra) {
  std::vector<std::string> keys;
  Correlations found;
  for (const std::string& point : points) keys.push_back("point/" + point), found.names.push_back(point);
  for (const std::string& model : extra) keys.push_back(model), found.names.push_back(model);
  std::vector<std::vector<double>> values(keys.size());
  for (const ScoredGroup& group : groups) {
    const bool whole = std::ranges::all_of(keys, [&](const std::string& key) { return group.scores.contains(key); });
    if (!whole || group.lengths.size() < 2) continue;
    for (std::size_t k = 0; k < keys.size(); ++k) append_centred(values[k], group.scores.at(keys[k]));
  }
  found.values.assign(keys.size(), std::vector<double>(keys.size(), 1));
  for (std::size_t a = 0; a < keys.size(); ++a) {
    for (std::size_t b = 0; b < a; ++b) found.values[a][b] = found.values[b][a] = eval::spearman(values[a], values[b]);
  }
  return found;
}

LengthFigures length_figures(const std::vector<ScoredGroup>& groups, const std::string& model) {
  LengthFigures figures;
  std::vector<double> scores, lengths;
  std::vector<eval::GroupResult> longer, shorter;
  double prefers = 0;
  for (const ScoredGroup& group : groups) {
    const auto own = group.scores.find(model);
    if (own == group.scores.end() || group.lengths.size() < 2) continue;
    append_centred(scores, own->second);
    append_centred(lengths, group.lengths);
  }
  for_pairs(groups, model, [&](const ScoredGroup& group, std::size_t better, std::size_t worse) {
    const double gap = group.scores.at(model)[better] - group.scores.at(model)[worse];
    const double more = group.lengths[better] - group.lengths[worse];
    if (more == 0) return;
    const double right = gap > 0 ? 1 : gap == 0 ? 0.5 : 0;
    (more > 0 ? longer : shorter).push_back({right, 1, group.prompt});
    prefers += more > 0 ? right : 1 - right;
  });
  figures.correlation = eval::spearman(scores, lengths);
  figures.pairs = static_cast<double>(longer.size() + shorter.size());
  if (figures.pairs > 0) {
    figures.prefers_longer = prefers / figures.pairs;
    figures.longer_is_better = static_cast<double>(longer.size()) / figures.pairs;
  }
  figures.right_if_longer = eval::bootstrap_accuracy(longer, kSeed);
  figures.right_if_shorter = eval::bootstrap_accuracy(shorter, kSeed);
  return figures;
}

}  // namespace dmoerm::report
