#include "eval/pair_figures.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "base/hash.h"
#include "base/text.h"
#include "eval/calibration.h"
#include "eval/correlation.h"
#include "eval/resampling.h"

namespace dmoerm::eval {
namespace {

using nlohmann::json;

constexpr double kEqualLength = 0.1;  // texts count as equally long if they differ by at most this share of the longer one
const std::string kOverallLabel(preference::kOverall);

double characters(const Item& item, std::int32_t response) {
  return static_cast<double>(utf8_characters(item.responses[static_cast<std::size_t>(response)]));
}

/// Temperature and errors; after the temperature, the error of each half of the clusters under the temperature of the other half.
json calibration_of(const Scored& scored, const ModelScores& model, const std::vector<std::size_t>& items) {
  std::vector<double> gaps;
  std::vector<double> halves[2];
  for (const std::size_t i : items) {
    const std::size_t half = stable_hash(scored.data.items[i].cluster) % 2;
    for (const preference::Preference& p : scored.compared_pairs(i, kOverallLabel)) {
      const std::optional<double> gap = gap_of(model.items[i], p);
      if (!gap) return {{"note", "the model gives preferences and not scores"}};
      gaps.push_back(*gap);
      halves[half].push_back(*gap);
    }
  }
  if (gaps.empty()) return {{"note", "there is no ordered pair"}};
  json bins = json::array();
  const std::vector<ReliabilityBin> own = reliability(gaps);
  for (const ReliabilityBin& bin : own)
    bins.push_back(
        {{"low", bin.low}, {"high", bin.high}, {"pairs", bin.count}, {"confidence", bin.confidence}, {"right", bin.right}});
  std::vector<double> tempered;
  bool has_temperatures = true;
  for (const std::size_t half : {0U, 1U}) {
    const std::optional<double> temperature = halves[1 - half].empty() ? 1 : best_temperature(halves[1 - half]);
    has_temperatures = has_temperatures && temperature;
    for (const double gap : halves[half]) tempered.push_back(gap / temperature.value_or(1));
  }
  const std::optional<double> temperature = best_temperature(gaps);
  return {{"error", calibration_error(own)},
          {"log_loss", log_loss(gaps)},
          {"temperature", temperature ? json(*temperature) : json()},
          {"error_with_temperature", has_temperatures ? json(calibration_error(reliability(tempered))) : json()},
          {"bins", bins}};
}

/// Accuracy on some of the pairs, with an interval over clusters.
class Part {
 public:
  Part(std::size_t models, std::string name) : models_(models), name_(std::move(name)) {}

  void add(const Scored& scored, std::size_t item, const preference::Preference& p) {
    Cluster& cluster = clusters_[scored.data.items[item].cluster];
    cluster.right.resize(models_);
    cluster.shares.resize(models_);
    cluster.pairs += 1;
    cluster.prompts = 1;
    for (std::size_t m = 0; m < models_; ++m) cluster.right[m] += right_of(scored.models[m].items[item], p).value_or(0);
    pairs_ += 1;
  }
  [[nodiscard]] double pairs() const { return pairs_; }
  void put(json& row, const Scored& scored, const char* key) const {
    std::vector<Cluster> all;
    for (const auto& [name, cluster] : clusters_) all.push_back(cluster);
    const Accuracies accuracies =
        resample(all, models_, scored.options.seed, "eval/" + name_ + "/" + key, scored.options.resamples);
    for (std::size_t m = 0; m < models_; ++m)
      row["models"][scored.models[m].name][key] = pairs_ > 0 ? to_json(accuracies.pooled.interval(m)) : json();
    row[key] = {{"pairs", pairs_}};
  }

 private:
  std::size_t models_;
  std::string name_;
  double pairs_ = 0;
  std::map<std::string, Cluster> clusters_;
};

/// Rank correlations of a model's scores with the length and the Markdown marks of responses, over all responses and within
/// groups, where each group's mean is subtracted.
json correlations_of(const Scored& scored, const ModelScores& model, const std::vector<std::size_t>& items) {
  std::vector<double> scores, lengths, marks, own_scores, own_lengths, own_marks;
  for (const std::size_t i : items) {
    const std::vector<double>& of_item = model.items[i].scores;
    if (of_item.empty()) continue;
    const Item& item = scored.data.items[i];
    const auto n = static_cast<double>(of_item.size());
    std::vector<double> length, mark;
    for (const std::string& text : item.responses) {
      length.push_back(static_cast<double>(utf8_characters(text)));
      mark.push_back(static_cast<double>(markdown_marks(text)));
    }
    const auto append = [&](const std::vector<double>& values, std::vector<double>& all, std::vector<double>& within) {
      double mean = 0;
      for (const double v : values) mean += v / n;
      for (const double v : values) {
        all.push_back(v);
        within.push_back(v - mean);
      }
    };
    append(of_item, scores, own_scores);
    append(length, lengths, own_lengths);
    append(mark, marks, own_marks);
  }
  drop_rounding(own_scores, scores), drop_rounding(own_lengths, lengths), drop_rounding(own_marks, marks);
  return {{"length", finite(spearman(scores, lengths))},
          {"length_within", finite(spearman(own_scores, own_lengths))},
          {"markdown", finite(spearman(scores, marks))},
          {"markdown_within", finite(spearman(own_scores, own_marks))}};
}

/// What length tells: the data's own preference for longer responses, each model's, and accuracies apart.
json style_of(const Scored& scored, const std::string& name, const std::vector<std::size_t>& items) {
  const std::size_t models = scored.models.size();
  Part longer(models, name), shorter(models, name), level(models, name);
  double pairs = 0, longer_better = 0;
  std::vector<double> picks(models);
  for (const std::size_t i : items) {
    const Item& item = scored.data.items[i];
    for (const preference::Preference& p : scored.compared_pairs(i, kOverallLabel)) {
      const double winner = characters(item, p.winner), loser = characters(item, p.loser);
      pairs += 1;
      longer_better += winner > loser ? 1 : winner == loser ? 0.5 : 0;
      if (std::abs(winner - loser) <= kEqualLength * std::max(winner, loser)) level.add(scored, i, p);
      if (winner > loser) longer.add(scored, i, p);
      if (winner < loser) shorter.add(scored, i, p);
      for (std::size_t m = 0; m < models; ++m) {
        const double right = right_of(scored.models[m].items[i], p).value_or(0);
        picks[m] += winner > loser ? right : winner == loser ? 0.5 : 1 - right;
      }
    }
  }
  if (pairs == 0) return {{"note", "there is no ordered pair"}};
  json row = {{"longer_is_better", longer_better / pairs}};
  longer.put(row, scored, "where_the_longer_is_better");
  shorter.put(row, scored, "where_the_shorter_is_better");
  level.put(row, scored, "at_equal_length");
  for (std::size_t m = 0; m < models; ++m) {
    json& own = row["models"][scored.models[m].name];
    own["prefers_the_longer"] = picks[m] / pairs;
    own["correlation"] = correlations_of(scored, scored.models[m], items);
  }
  return row;
}

/// Share of the groups of more than two responses in which the model's best response is the data's best.
json best_of(const Scored& scored, const std::string& name, const std::vector<std::size_t>& items) {
  const std::size_t models = scored.models.size();
  std::map<std::string, Cluster> clusters;
  double groups = 0;
  for (const std::size_t i : items) {
    const Item& item = scored.data.items[i];
    if (item.responses.size() < 3 || overall_pairs(item).empty()) continue;
    groups += 1;
    Cluster& cluster = clusters[item.cluster];
    cluster.right.resize(models);
    cluster.shares.resize(models);
    cluster.pairs += 1;
    cluster.prompts = 1;
    for (std::size_t m = 0; m < models; ++m) cluster.right[m] += best_right(item, scored.models[m].items[i]).value_or(0);
  }
  if (groups == 0) return {{"note", "no group has more than two responses"}};
  std::vector<Cluster> all;
  for (auto& [key, cluster] : clusters) all.push_back(std::move(cluster));
  const Accuracies accuracies = resample(all, models, scored.options.seed, "eval/best/" + name, scored.options.resamples);
  json row = {{"groups", groups}};
  for (std::size_t m = 0; m < models; ++m) {
    const bool has_scores = std::ranges::any_of(items, [&](std::size_t i) { return !scored.models[m].items[i].scores.empty(); });
    row["models"][scored.models[m].name] = has_scores ? to_json(accuracies.pooled.interval(m)) : json();
  }
  return row;
}

/// Shares of the stated ties and of the ordered pairs that a model which gives preferences calls equal, and the share of both on
/// which it says what the data say.
json ties_by_preference(const Scored& scored, const ModelScores& model, const std::vector<std::size_t>& items) {
  double ties = 0, tied = 0, pairs = 0, equal = 0, right = 0;
  for (const std::size_t i : items) {
    for (const auto& [a, b] : scored.data.items[i].ties) {
      const auto found = model.items[i].preferences.find({std::min(a, b), std::max(a, b)});
      if (found == model.items[i].preferences.end()) continue;
      ties += 1, tied += found->second == 0.5 ? 1 : 0;
    }
    for (const preference::Preference& p : scored.compared_pairs(i, kOverallLabel)) {
      const double share = right_of(model.items[i], p).value_or(0);
      pairs += 1, equal += share == 0.5 ? 1 : 0, right += share == 1 ? 1 : 0;
    }
  }
  return {{"called_equal", finite(tied / ties)},
          {"ordered_called_equal", finite(equal / pairs)},
          {"three_answers", finite((tied + right) / (ties + pairs))}};
}

/// Probability that a pair which the data calls equal has a smaller gap than an ordered pair; equal gaps count half.
json ties_of(const Scored& scored, const std::vector<std::size_t>& items) {
  json row = json::object();
  double ties = 0;
  for (const std::size_t i : items) ties += static_cast<double>(scored.data.items[i].ties.size());
  if (ties == 0) return {{"note", "no pair is stated to be equal"}};
  row["pairs"] = ties;
  for (const ModelScores& model : scored.models) {
    if (std::ranges::all_of(items, [&](std::size_t i) { return model.items[i].scores.empty(); })) {
      row["models"][model.name] = ties_by_preference(scored, model, items);
      continue;
    }
    std::vector<double> gaps;
    double tied = 0, equal = 0;
    for (const std::size_t i : items) {
      if (model.items[i].scores.empty()) continue;
      for (const auto& [a, b] : scored.data.items[i].ties) {
        gaps.push_back(std::abs(gap_of(model.items[i], {a, b, 0.0F}).value_or(0)));
        equal += gaps.back() == 0 ? 1 : 0;
        tied += 1;
      }
    }
    for (const std::size_t i : items) {
      for (const preference::Preference& p : scored.compared_pairs(i, kOverallLabel)) {
        if (const std::optional<double> gap = gap_of(model.items[i], p)) gaps.push_back(std::abs(*gap));
      }
    }
    const double ordered = static_cast<double>(gaps.size()) - tied;
    drop_rounding(gaps, std::vector<double>(gaps));
    const std::vector<double> ranks = ranks_of(gaps);
    double sum = 0;  // of the ranks of ties: the statistic of Mann and Whitney
    for (std::size_t i = 0; i < static_cast<std::size_t>(tied); ++i) sum += ranks[i];
    const double above = sum - tied * (tied + 1) / 2;
    row["models"][model.name] = {{"smaller_gap", finite(1 - above / (tied * ordered))}, {"equal_scores", finite(equal / tied)}};
  }
  return row;
}

}  // namespace

void add_pair_figures(json& result, const Scored& scored) {
  for (const auto& [row, items] : scored.rows()) {
    for (const ModelScores& model : scored.models) result["calibration"][row][model.name] = calibration_of(scored, model, items);
    result["style"][row] = style_of(scored, row, items);
    result["best_of_list"][row] = best_of(scored, row, items);
    result["ties"][row] = ties_of(scored, items);
  }
}

}  // namespace dmoerm::eval
