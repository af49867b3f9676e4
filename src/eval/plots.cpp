#include "eval/plots.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <vector>

#include "eval/chart.h"
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
  double low = 0.5, high = 0.5;
  for (const DotRow& row : rows) {
    for (const json& m : row.models) {
      if (!m.is_object()) continue;
      low = std::min(low, m["low"].get<double>());
      high = std::max(high, m["high"].get<double>());
    }
  }
  Axis x{"share of pairs that are right", std::max(0.0, low - 0.02), std::min(1.0, high + 0.02)},
      y{"", 0, static_cast<double>(rows.size())};
  for (std::size_t r = 0; r < rows.size(); ++r) y.ticks.emplace_back(y.high - 0.5 - static_cast<double>(r), rows[r].title);
  const double step = std::max(14.0, 8.0 + 9.0 * static_cast<double>(models.size()));
  Chart chart(title, subtitle, x, y, 860, 122 + step * static_cast<double>(rows.size()));
  chart.rule(0.5, 0, 0.5, y.high, true);
  for (std::size_t r = 0; r < rows.size(); ++r) {
    for (std::size_t m = 0; m < models.size(); ++m) {
      const json& own = rows[r].models[m];
      if (!own.is_object()) continue;
      const double offset = (static_cast<double>(m) + 1) / static_cast<double>(models.size() + 1) - 0.5;
      chart.dot({own["value"], y.ticks[r].first - 0.8 * offset, own["low"], own["high"]}, m, true);
    }
  }
  chart.legend(models);
  return chart.svg();
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
