#include "serve/scored_texts.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace dmoerm::serve {
namespace {

double spread_of(const std::map<std::string, double>& points) {
  if (points.size() < 2) return 0;
  double sum = 0, squares = 0;
  const auto count = static_cast<double>(points.size());
  for (const auto& [point, value] : points) sum += value;
  for (const auto& [point, value] : points) squares += (value - sum / count) * (value - sum / count);
  return std::sqrt(squares / count);
}

wire::Scored row_of(const moe::Model& model, const moe::GroupScore& group, moe::Score score, std::optional<double> reward) {
  if (reward) score = {.reward = *reward, .cut_tokens = score.cut_tokens};
  const moe::Category* category = group.category.empty() ? nullptr : &model.category(group.category);
  const moe::ScoreStats& stats = category == nullptr ? model.fallback_stats : category->stats;
  wire::Scored row;
  row.score = score.reward;
  row.standardised = reward ? *reward : (score.reward - stats.mean) / std::max(stats.std, 1e-6);
  row.points = score.points;
  row.base = score.base;
  for (std::size_t p = 0; category != nullptr && p < std::min(category->points.size(), score.contributions.size()); ++p)
    row.contributions[category->points[p]] = score.contributions[p];
  if (category != nullptr && score.contributions.size() > category->points.size())
    row.base_contribution = score.contributions.back();
  if (score.second) {
    row.second = model.router.categories()[static_cast<std::size_t>(group.route.second)];
    row.second_share = group.route.second_share;
    row.second_contribution = *score.second;
  }
  row.spread = spread_of(score.points);
  row.scored_by = category == nullptr ? "single" : group.category;
  row.category = model.router.categories()[static_cast<std::size_t>(group.route.likeliest)];
  row.confidence = group.route.confidence;
  row.distance = group.route.distance;
  row.fallback = category == nullptr;
  row.cut_tokens = score.cut_tokens;
  return row;
}

}  // namespace

std::vector<wire::Scored> scored_texts(const moe::Model& model, const std::vector<ScoredWork>& works, double empty_reward) {
  std::vector<wire::Scored> rows;
  for (const ScoredWork& work : works) {
    for (std::size_t i = 0; i < work.scores->responses.size(); ++i) {
      const moe::Score& score = work.scores->responses[i];
      if (!std::isfinite(score.reward)) throw NumericError("score-not-finite", "the model gave a score that is not a number");
      wire::Scored row =
          row_of(model, *work.scores, score, work.found == Found::empty ? std::optional(empty_reward) : std::nullopt);
      row.tokens = std::ssize(work.texts->responses[i]);
      row.split = work.found != Found::nothing;
      rows.push_back(std::move(row));
    }
  }
  return rows;
}

}  // namespace dmoerm::serve
