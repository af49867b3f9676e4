// Curves with bands, as SVG: one panel beside the other, on one scale.
#pragma once
#include <array>
#include <map>
#include <string>
#include <vector>

namespace dmoerm::evidence {

struct CurvePanel {
  std::string title;
  std::vector<std::string> ticks;                                    ///< Places on the horizontal axis, at equal distances
  std::map<std::string, std::vector<std::array<double, 3>>> curves;  ///< Name -> value, low, high at each place
};

/// @return "" without panels
std::string curve_chart(const std::vector<CurvePanel>& panels, const std::string& title);

}  // namespace dmoerm::evidence
