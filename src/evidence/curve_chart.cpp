#include "evidence/curve_chart.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/chart.h"

namespace dmoerm::evidence {
namespace {

constexpr double kWidth = 360, kHeight = 330, kStep = 0.05;

}  // namespace

std::string curve_chart(const std::vector<CurvePanel>& panels, const std::string& title) {
  if (panels.empty()) return "";
  double low = 1, high = 0;
  std::vector<std::string> names;
  for (const CurvePanel& panel : panels) {
    for (const auto& [name, points] : panel.curves) {
      if (std::ranges::find(names, name) == names.end()) names.push_back(name);
      for (const auto& [value, below, above] : points) low = std::min(low, below), high = std::max(high, above);
    }
  }
  low = std::floor(low / kStep) * kStep, high = std::max(low + kStep, std::ceil(high / kStep) * kStep);
  std::vector<Chart> charts;
  for (const CurvePanel& panel : panels) {
    Axis x{"", -0.3, std::max(1.0, static_cast<double>(panel.ticks.size()) - 1) + 0.3};
    for (std::size_t i = 0; i < panel.ticks.size(); ++i) x.ticks.emplace_back(static_cast<double>(i), panel.ticks[i]);
    Chart& chart = charts.emplace_back(panel.title, "", x, Axis{"", low, high}, kWidth, kHeight);
    for (const auto& [name, points] : panel.curves) {
      std::vector<Chart::Point> line;
      for (const auto& [value, below, above] : points) line.push_back({static_cast<double>(line.size()), value, below, above});
      chart.line(line, static_cast<std::size_t>(std::ranges::find(names, name) - names.begin()), Chart::Style::with_band);
    }
  }
  return side_by_side(charts, title, names);
}

}  // namespace dmoerm::evidence
