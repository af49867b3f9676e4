#include "evidence/curve_chart.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "base/chart.h"

namespace dmoerm::evidence {
namespace {

constexpr double kWidth = 360, kHeight = 330, kStep = 0.05;

/// Draw a curve, which is broken at ticks without a point.
void draw_curve(const std::vector<CurvePoint>& points, std::size_t series, Chart& chart) {
  std::vector<Chart::Point> line;
  for (std::size_t i = 0; i < points.size(); ++i) {
    const CurvePoint& point = points[i];
    line.push_back({static_cast<double>(point.tick), point.value, point.low, point.high});
    const bool next = i + 1 < points.size() && points[i + 1].tick == point.tick + 1;
    if (!next) chart.line(std::exchange(line, {}), series, Chart::Style::with_band);
  }
}

}  // namespace

std::string curve_chart(const std::vector<CurvePanel>& panels, const std::string& title) {
  if (panels.empty()) return "";
  double low = 1, high = 0;
  std::vector<std::string> names;
  for (const CurvePanel& panel : panels) {
    for (const auto& [name, points] : panel.curves) {
      if (std::ranges::find(names, name) == names.end()) names.push_back(name);
      for (const CurvePoint& point : points) low = std::min(low, point.low), high = std::max(high, point.high);
    }
  }
  low = std::floor(low / kStep) * kStep, high = std::max(low + kStep, std::ceil(high / kStep) * kStep);
  std::vector<Chart> charts;
  for (const CurvePanel& panel : panels) {
    Axis x{"", -0.3, std::max(1.0, static_cast<double>(panel.ticks.size()) - 1) + 0.3};
    for (std::size_t i = 0; i < panel.ticks.size(); ++i) x.ticks.emplace_back(static_cast<double>(i), panel.ticks[i]);
    Chart& chart = charts.emplace_back(panel.title, "", x, Axis{"", low, high}, kWidth, kHeight);
    for (const auto& [name, points] : panel.curves)
      draw_curve(points, static_cast<std::size_t>(std::ranges::find(names, name) - names.begin()), chart);
  }
  return side_by_side(charts, title, names);
}

}  // namespace dmoerm::evidence
