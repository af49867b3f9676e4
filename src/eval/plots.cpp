#include "eval/plots.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/chart.h"
#include "eval/scored.h"

namespace dmoerm::eval {
namespace {

using nlohmann::json;

std::vector<std::string> names_of(const json& result) {
  std::vector<std::string> names;
  for (const json& model : result["models"]) names.push_back(model["name"]);
  return names;
}

/// A row of dots: one interval for each model.
struct DotRow {
  std::string title;
  std::vector<json> models;
};

/// Rows from top to bottom, intervals along x.
std::string dot_chart(const std::string& title, const std::string& subtitle, const std::vector<DotRow>& rows,
                      const std::vector<std::string>& models) {
  IntervalChart chart{
      .title = title, .subtitle = subtitle, .axis = "share of pairs that are right", .series = models, .rows = {}};
  for (const DotRow& row : rows) {
    IntervalRow& drawn = chart.rows.emplace_back(IntervalRow{row.title, {}});
    for (const json& m : row.models)
      drawn.series.push_back(m.is_object() ? std::optional(Chart::Point{m["value"], 0, m["low"], m["high"]}) : std::nullopt);
  }
  return svg_of(chart);
}

std::string accuracy_plot(const json& result, const std::vector<std::string>& models) {
  std::vector<DotRow> rows;
  for (const auto& [category, labels] : result["accuracy"].items()) {
    for (const auto& [label, own] : labels.items()) {
      if (label != preference::kOverall) continue;
      DotRow row{category, {}};
      for (const std::string& m : models) row.models.push_back(own["models"][m]["pooled"]);
      rows.push_back(std::move(row));
    }
  }
  std::ranges::stable_partition(rows, [](const DotRow& row) { return row.title != kAll; });
  if (result.contains("macro")) {
    rows.push_back({"mean of categories", {}});
    for (const std::string& m : models) rows.back().models.push_back(result["macro"][m]);
  }
  return rows.empty()
             ? ""
             : dot_chart("Accuracy by category",
                         "Dots: pairs in the right order. Lines: 95 % bootstrap intervals over clusters. Dashed: chance.", rows,
                         models);
}

const json& whole(const json& by_row) { return by_row.contains(kAll) ? by_row[kAll] : by_row.begin().value(); }

std::string reliability_plot(const json& result, const std::vector<std::string>& models) {
  Chart chart("Reliability",
              "A calibrated model lies on the dashed line: of the pairs in which it is 80 % sure, 80 % are right. Bins of fewer "
              "than 5 pairs are left out.",
              {"confidence: sigmoid of the gap of two scores", 0.5, 1}, {"share right", 0, 1});
  chart.rule(0.5, 0.5, 1, 1, true);
  bool drawn = false;
  for (std::size_t m = 0; m < models.size(); ++m) {
    const json& own = whole(result["calibration"])[models[m]];
    std::vector<Chart::Point> points;
    for (const json& bin : own.value("bins", json::array())) {
      if (bin["pairs"].get<double>() >= 5) points.push_back({bin["confidence"], bin["right"]});
    }
    chart.line(points, m, Chart::Style::plain);
    drawn = drawn || !points.empty();
  }
  chart.legend(models);
  return drawn ? chart.svg() : "";
}

std::string length_plot(const json& result, const std::vector<std::string>& models) {
  const json& style = whole(result["style"]);
  if (style.contains("note")) return "";
  std::vector<DotRow> rows;
  for (const auto& [key, title] : {std::pair{"where_the_longer_is_better", "the longer is better"},
                                   {"where_the_shorter_is_better", "the shorter is better"},
                                   {"at_equal_length", "equal length within 10 %"}}) {
    DotRow row{title, {}};
    for (const std::string& m : models) row.models.push_back(style["models"][m][key]);
    rows.push_back(std::move(row));
  }
  return dot_chart("Accuracy by length", "A model that reads and does not count is as right in the second row as in the first.",
                   rows, models);
}

}  // namespace

std::map<std::string, std::string> plots_of(const json& result) {
  const std::vector<std::string> models = names_of(result);
  std::map<std::string, std::string> plots = {{"accuracy.svg", accuracy_plot(result, models)},
                                              {"reliability.svg", reliability_plot(result, models)},
                                              {"length.svg", length_plot(result, models)}};
  std::erase_if(plots, [](const auto& plot) { return plot.second.empty(); });
  return plots;
}

}  // namespace dmoerm::eval
