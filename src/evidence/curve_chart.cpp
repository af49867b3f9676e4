#include "evidence/curve_chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace dmoerm::evidence {
namespace {

constexpr double kWidth = 300, kHeight = 240, kLeft = 56, kTop = 54, kGap = 26, kLegend = 150;
constexpr std::array<const char*, 6> kColours = {"#0072b2", "#d55e00", "#009e73", "#7a3e9d", "#8c6d00", "#444444"};

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
  constexpr double kStep = 0.05;
  low = std::floor(low / kStep) * kStep, high = std::ceil(high / kStep) * kStep;
  const auto y = [&](double value) { return kTop + kHeight * (high - value) / std::max(1e-9, high - low); };
  const auto count = static_cast<double>(panels.size());
  const double right = kLeft + count * (kWidth + kGap);
  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0:.0f}\" height=\"{1:.0f}\" viewBox=\"0 0 {0:.0f} {1:.0f}\" "
      "font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
      "<text x=\"{2}\" y=\"20\" font-size=\"15\">{3}</text>\n",
      right + kLegend, kTop + kHeight + 44, kLeft, title);
  for (std::size_t p = 0; p < panels.size(); ++p) {
    const CurvePanel& panel = panels[p];
    const double left = kLeft + static_cast<double>(p) * (kWidth + kGap);
    const auto x = [&](std::size_t i) {
      return left + 20 + (kWidth - 40) * static_cast<double>(i) / std::max(1.0, static_cast<double>(panel.ticks.size()) - 1);
    };
    svg += fmt::format("<text x=\"{:.1f}\" y=\"44\" font-weight=\"bold\">{}</text>\n", left, panel.title);
    for (double value = low; value < high + kStep / 2; value += kStep) {
      svg += fmt::format("<line x1=\"{0:.1f}\" x2=\"{1:.1f}\" y1=\"{2:.1f}\" y2=\"{2:.1f}\" stroke=\"#ddd\"/>\n", left,
                         left + kWidth, y(value));
      if (p == 0)
        svg += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"end\">{:.2f}</text>\n", left - 6, y(value) + 4, value);
    }
    for (std::size_t i = 0; i < panel.ticks.size(); ++i)
      svg += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{}</text>\n", x(i), kTop + kHeight + 18,
                         panel.ticks[i]);
    for (std::size_t n = 0; n < names.size(); ++n) {
      const auto found = panel.curves.find(names[n]);
      if (found == panel.curves.end()) continue;
      std::string line, band, back;
      for (std::size_t i = 0; i < found->second.size(); ++i) {
        const auto& [value, below, above] = found->second[i];
        line += fmt::format("{:.1f},{:.1f} ", x(i), y(value));
        band += fmt::format("{:.1f},{:.1f} ", x(i), y(above));
        back = fmt::format("{:.1f},{:.1f} ", x(i), y(below)) + back;
      }
      const char* colour = kColours[n % kColours.size()];
      svg += fmt::format("<polygon points=\"{}{}\" fill=\"{}\" fill-opacity=\"0.12\"/>\n", band, back, colour);
      svg += fmt::format("<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"2\"/>\n", line, colour);
    }
  }
  for (std::size_t n = 0; n < names.size(); ++n) {
    const double at = kTop + 14 + 20 * static_cast<double>(n);
    svg += fmt::format("<line x1=\"{0:.1f}\" x2=\"{1:.1f}\" y1=\"{2:.1f}\" y2=\"{2:.1f}\" stroke=\"{3}\" stroke-width=\"3\"/>\n",
                       right, right + 24, at, kColours[n % kColours.size()]);
    svg += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\">{}</text>\n", right + 30, at + 4, names[n]);
  }
  return svg + "</svg>\n";
}

}  // namespace dmoerm::evidence
