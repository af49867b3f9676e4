#include "report/sections_of_quality.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/chart.h"
#include "eval/paired_difference.h"
#include "report/score_figures.h"

namespace dmoerm::report {
namespace {

using eval::Interval;
using nlohmann::json;

std::optional<Chart::Point> point_of(const std::optional<Interval>& interval) {
  return interval ? std::optional(Chart::Point{interval->value, 0, interval->low, interval->high}) : std::nullopt;
}

/// The models that have results on some row.
std::vector<ModelName> models_with_results(const Accuracies& accuracies) {
  std::vector<ModelName> models;
  for (const ModelName& model : kModels) {
    if (std::ranges::any_of(accuracies.rows, [&](const std::string& row) { return accuracies.has(row, model.key); }))
      models.push_back(model);
  }
  return models;
}

std::string leads_html(const Accuracies& accuracies, const std::vector<ModelName>& models) {
  IntervalChart chart{
      .title = "How far DMoERM is ahead",
      .subtitle = "Differences on the same prompts, with 95 % intervals. Right of the dashed line: DMoERM is better.",
      .axis = "difference of the shares of pairs in the right order",
      .reference = 0,
      .low = -1,
      .series = {},
      .rows = {}};
  Table rows{{"category"}, {}};
  for (const ModelName& model : models) {
    if (model.key == std::string(kMixture)) continue;
    chart.series.emplace_back(std::string("against ") + model.title);
    rows.head.push_back(chart.series.back());
  }
  if (chart.series.empty()) return "";
  bool bounds = false;
  for (const std::string& row : accuracies.rows) {
    IntervalRow& drawn = chart.rows.emplace_back(IntervalRow{row, {}});
    rows.rows.push_back({row});
    for (const ModelName& model : models) {
      if (model.key == std::string(kMixture)) continue;
      const auto lead = accuracies.lead(row, model.key);
      drawn.series.push_back(point_of(lead));
      rows.rows.back().push_back(lead ? fmt::format("{:+.1f} [{:+.1f}, {:+.1f}]{}", 100 * lead->value, 100 * lead->low,
                                                    100 * lead->high, eval::bounds_mark(*lead))
                                      : "-");
      bounds = bounds || (lead && lead->bounded);
    }
  }
  return figure(svg_of(chart), chart.title) +
         folded("The differences as a table, in points", table(rows) + (bounds ? note(eval::kBoundsNote) : ""));
}

std::string imported_text(const Run& run) {
  const std::string text = imported_experts_text(run);
  return text.empty() ? "" : note(text);
}

std::string experts_html(const Run& run) {
  Table rows{{"category", "point", "pairs", "right on its own point's labels, %"}, {}, 2};
  for (const std::string& category : run.categories) {
    const Part& results = run.results.at(category);
    if (!results.there() || !results.value.contains("points")) continue;
    for (const auto& [point, own] : results.value["points"].items()) {
      std::vector<eval::GroupResult> groups;
      double pairs = 0;
      for (std::size_t i = 0; i < own.at("pairs").size(); ++i) {
        const auto prompt = prompt_of(own, i);
        groups.push_back({own.at("right").at(i), own["pairs"][i], prompt});
        pairs += groups.back().pairs;
      }
      rows.rows.push_back(
          {category, point, whole_number(pairs), pairs > 0 ? interval_text(eval::bootstrap_accuracy(groups, kSeed)) : "-"});
    }
  }
  return rows.rows.empty() ? "" : heading("Each expert on what it was trained for") + table(rows) + imported_text(run);
}

struct CategoryScores {
  std::string category;
  std::vector<ScoredGroup> groups;
};

/// Scores of all categories that have them; prompts of different categories have different numbers. @param problems  why the
/// others have none, one sentence for each reason
std::vector<CategoryScores> scores_of(const Run& run, std::vector<std::string>& problems) {
  std::vector<CategoryScores> all;
  std::int64_t first = 0;
  for (const std::string& category : run.categories) {
    const Part& part = run.scores.at(category);
    std::string problem = part.missing;
    if (part.there()) {
      try {
        CategoryScores own{category, groups_of(part.value)};
        std::int64_t last = first;
        for (ScoredGroup& group : own.groups) group.prompt += first, last = std::max(last, group.prompt + 1);
        first = last;
        all.push_back(std::move(own));
      } catch (const std::exception&) {
        problem = fmt::format("scores.json of {} does not have the form that `run` writes.", category);
      }
    }
    if (!problem.empty() && std::ranges::find(problems, problem) == problems.end()) problems.push_back(problem);
  }
  return all;
}

std::string problems_html(const std::vector<std::string>& problems) {
  std::string html;
  for (const std::string& problem : problems) html += note(problem);
  return html;
}

std::vector<ScoredGroup> together(const std::vector<CategoryScores>& all) {
  std::vector<ScoredGroup> groups;
  for (const CategoryScores& own : all) groups.insert(groups.end(), own.groups.begin(), own.groups.end());
  return groups;
}

/// The models of kModels that scored some of the groups.
std::vector<ModelName> models_in(const std::vector<ScoredGroup>& groups) {
  std::vector<ModelName> models;
  for (const ModelName& model : kModels) {
    if (std::ranges::any_of(groups, [&](const ScoredGroup& g) { return g.scores.contains(model.key); })) models.push_back(model);
  }
  return models;
}

}  // namespace

Section accuracy_section(const Run& run, const Accuracies& accuracies) {
  Section section{"accuracy", "Accuracy on the test prompts", ""};
  for (const std::string& problem : accuracies.problems) section.body += note(problem);
  if (accuracies.empty()) return section;
  const std::vector<ModelName> models = models_with_results(accuracies);
  IntervalChart chart{.title = "Pairs in the right order",
                      .subtitle = "Dots: share of the test pairs. Lines: 95 % intervals over prompts. Dashed: chance.",
                      .axis = "share of pairs in the right order",
                      .series = {},
                      .rows = {}};
  Table rows{{"category", "prompts", "pairs"}, {}};
  for (const ModelName& model : models) chart.series.emplace_back(model.title), rows.head.emplace_back(model.title);
  for (const std::string& row : accuracies.rows) {
    IntervalRow& drawn = chart.rows.emplace_back(IntervalRow{row, {}});
    rows.rows.push_back({row, whole_number(static_cast<double>(accuracies.prompts(row))), whole_number(accuracies.pairs(row))});
    for (const ModelName& model : models) {
      const auto accuracy = accuracies.accuracy(row, model.key);
      drawn.series.push_back(point_of(accuracy));
      rows.rows.back().push_back(interval_text(accuracy));
    }
  }
  section.body += figure(svg_of(chart), chart.title) + table(rows) +
                  note(
                      "Numbers are per cent of the pairs, with 95 % intervals. The single model and one model per category are "
                      "trained on all overall labels and may take as many tokens as "
                      "bases and experts together. Base alone is the model of phase 1, which the experts adapt.") +
                  leads_html(accuracies, models) + experts_html(run);
  return section;
}

Section correlations_section(const Run& run) {
  Section section{"correlations", "Do the experts say different things?", ""};
  std::vector<std::string> problems;
  std::string maps;
  for (const CategoryScores& own : scores_of(run, problems)) {
    const auto points = run.points.find(own.category);
    if (points == run.points.end() || points->second.empty()) continue;
    std::vector<std::string> extra;
    for (const char* model : {"base", "dmoerm"}) {
      if (std::ranges::any_of(own.groups, [&](const ScoredGroup& g) { return g.scores.contains(model); }))
        extra.emplace_back(model);
    }
    const Correlations found = correlations_of(own.groups, points->second, extra);
    HeatMap map{own.category, "", found.names, found.names, found.values, {}};
    for (const auto& row : found.values) {
      map.words.emplace_back();
      for (const double value : row) map.words.back().push_back(std::isnan(value) ? "-" : fmt::format("{:.2f}", value));
    }
    maps += figure(svg_of(map), "Correlations of the experts of " + own.category);
  }
  if (!maps.empty())
    section.body =
        note(
            "Rank correlation (Spearman) of the scores of two experts within a group. Near 1 they say the same, and one of them "
            "adds little; base is the overall reward of phase 1, dmoerm the finished score.") +
        "<div class=\"row\">\n" + maps + "</div>\n";
  section.body += problems_html(problems);
  return section;
}

Section calibration_section(const Run& run) {
  Section section{"calibration", "Calibration", ""};
  std::vector<std::string> problems;
  const std::vector<ScoredGroup> groups = together(scores_of(run, problems));
  const std::vector<ModelName> models = models_in(groups);
  Table rows{{"model", "pairs", "calibration error", "best temperature"}, {}};
  std::vector<std::string> names;
  std::vector<std::vector<Chart::Point>> lines;
  double lowest = 0.5;
  for (const ModelName& model : models) {
    const CalibrationFigures figures = calibration_of(groups, model.key);
    if (figures.pairs == 0) continue;
    std::vector<Chart::Point>& line = lines.emplace_back();
    for (const eval::ReliabilityBin& bin : figures.bins) {
      if (bin.count < 5) continue;
      line.push_back({bin.confidence, bin.right});
      lowest = std::min(lowest, bin.right);
    }
    names.emplace_back(model.title);
    rows.rows.push_back({model.title, whole_number(figures.pairs), fmt::format("{:.3f}", figures.error),
                         figures.temperature ? fmt::format("{:.2f}", *figures.temperature) : "-"});
  }
  Chart chart("How sure a model may be", "On the dashed line: of the pairs in which it is 80 % sure, 80 % are right.",
              {"confidence: sigmoid of the gap of two scores", 0.5, 1}, {"share right", std::max(0.0, lowest - 0.05), 1}, 760,
              380);
  chart.rule(0.5, 0.5, 1, 1, true);
  for (std::size_t i = 0; i < lines.size(); ++i) chart.line(lines[i], i, Chart::Style::plain);
  chart.legend(names);
  if (!names.empty())
    section.body =
        figure(chart.svg(), "Reliability diagram") + table(rows) +
        note(
            "Bins of fewer than 5 pairs are left out of the chart. A temperature above 1 means that the gaps of the scores are "
            "too large for how often the model is right. Scores of a mixture are sums whose scale has no meaning of its own; "
            "only their order has.");
  section.body += problems_html(problems);
  return section;
}

Section length_section(const Run& run) {
  Section section{"length", "Does it count words?", ""};
  std::vector<std::string> problems;
  const std::vector<ScoredGroup> groups = together(scores_of(run, problems));
  IntervalChart chart{.title = "Accuracy by length",
                      .subtitle = "A model that reads and does not count is as right in the second row as in the first.",
                      .axis = "share of pairs in the right order",
                      .series = {},
                      .rows = {{"the longer is better", {}}, {"the shorter is better", {}}}};
  Table rows{{"model", "correlation of score and length", "prefers the longer", "labels prefer the longer", "pairs"}, {}};
  for (const ModelName& model : models_in(groups)) {
    const LengthFigures figures = length_figures(groups, model.key);
    if (figures.pairs == 0) continue;
    chart.series.emplace_back(model.title);
    chart.rows[0].series.push_back(point_of(figures.right_if_longer));
    chart.rows[1].series.push_back(point_of(figures.right_if_shorter));
    rows.rows.push_back({model.title, std::isnan(figures.correlation) ? "-" : fmt::format("{:+.2f}", figures.correlation),
                         share_text(figures.prefers_longer), share_text(figures.longer_is_better), whole_number(figures.pairs)});
  }
  if (!chart.series.empty())
    section.body = figure(svg_of(chart), chart.title) + table(rows) +
                   note(
                       "Lengths are tokens of the response. The correlation is Spearman's, within groups; pairs of equal length "
                       "are left out.");
  section.body += problems_html(problems);
  return section;
}

}  // namespace dmoerm::report
