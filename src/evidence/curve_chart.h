// Curves with bands, as SVG: one panel beside the other, on one scale.
#pragma once
#include <cstddef>
#include <map>
#include <string>
#include <vector>

namespace dmoerm::evidence {

/// A value with its interval.
struct CurvePoint {
  std::size_t tick = 0;  ///< Which of the panel's ticks it belongs to
  double value = 0, low = 0, high = 0;
};

struct CurvePanel {
  std::string title;
  std::vector<std::string> ticks;                         ///< Texts on the horizontal axis, at equal distances
  std::map<std::string, std::vector<CurvePoint>> curves;  ///< By name, in the order of the ticks; some ticks may have no point
};

/// A curve is broken at a tick without a point. @return "" without panels
std::string curve_chart(const std::vector<CurvePanel>& panels, const std::string& title);

}  // namespace dmoerm::evidence
