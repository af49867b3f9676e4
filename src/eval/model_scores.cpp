#include "eval/model_scores.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace dmoerm::eval {
namespace {

/// By response: whether it stands in an ordered overall pair or has an overall score.
std::vector<bool> labelled(const Item& item) {
  std::vector<bool> has_label(item.responses.size(), false);
  for (const preference::Preference& p : overall_pairs(item))
    has_label[static_cast<std::size_t>(p.winner)] = has_label[static_cast<std::size_t>(p.loser)] = true;
  if (const auto gold = item.scores.find(std::string(preference::kOverall)); gold != item.scores.end()) {
    for (std::size_t i = 0; i < has_label.size(); ++i) has_label[i] = has_label[i] || !std::isnan(gold->second[i]);
  }
  return has_label;
}

}  // namespace

std::optional<double> gap_of(const ItemScores& scores, const preference::Preference& pair) {
  if (scores.scores.empty()) return std::nullopt;
  return scores.scores[static_cast<std::size_t>(pair.winner)] - scores.scores[static_cast<std::size_t>(pair.loser)];
}

bool are_compared(const ModelScores& a, const ModelScores& b) {
  const auto allows = [](const ModelScores& one, const ModelScores& other) {
    return one.ablation_of.empty() || one.ablation_of == other.name;
  };
  return allows(a, b) && allows(b, a);
}

std::optional<double> right_of(const ItemScores& scores, const preference::Preference& pair) {
  if (const std::optional<double> gap = gap_of(scores, pair)) return *gap > 0 ? 1.0 : *gap == 0 ? 0.5 : 0.0;
  if (const auto found = scores.preferences.find({pair.winner, pair.loser}); found != scores.preferences.end())
    return found->second;
  if (const auto found = scores.preferences.find({pair.loser, pair.winner}); found != scores.preferences.end())
    return 1 - found->second;
  return std::nullopt;
}

std::optional<double> best_right(const Item& item, const ItemScores& scores) {
  const std::vector<preference::Preference>& pairs = overall_pairs(item);
  if (scores.scores.empty() || pairs.empty()) return std::nullopt;
  std::vector<bool> is_best(item.responses.size(), false);
  for (const preference::Preference& p : pairs) is_best[static_cast<std::size_t>(p.winner)] = true;
  for (const preference::Preference& p : pairs) is_best[static_cast<std::size_t>(p.loser)] = false;
  const std::vector<bool> has_label = labelled(item);
  double top = -std::numeric_limits<double>::infinity(), chosen = 0, right = 0;
  for (std::size_t i = 0; i < is_best.size(); ++i) {
    if (has_label[i]) top = std::max(top, scores.scores[i]);
  }
  for (std::size_t i = 0; i < is_best.size(); ++i) {
    if (!has_label[i] || scores.scores[i] != top) continue;
    chosen += 1;
    right += is_best[i] ? 1 : 0;
  }
  return right / chosen;
}

}  // namespace dmoerm::eval
