// Draws charts as SVG: axes with ticks, lines, bands, dots with whiskers, a legend. Ground, grid and notes have the classes
// paper, grid and note, so that a page can give them the colours of a dark screen.
#pragma once
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace dmoerm {

struct Axis {
  std::string title;
  double low = 0, high = 1;
  std::vector<std::pair<double, std::string>> ticks = {};  ///< Empty: round numbers
};

class Chart {
 public:
  /// A point of a line, with its interval.
  struct Point {
    double x = 0, y = 0, low = 0, high = 0;
  };

  enum class Style : std::uint8_t { plain, with_band, dashed };

  /// @param subtitle  below the title: how to read the chart
  /// @param height    with one line of title and subtitle; what is too long for the width goes on in further lines
  Chart(std::string title, std::string subtitle, Axis x, Axis y, double width = 860, double height = 460);

  /// A line through points; a band lies between their `low` and `high`. One that is equal to an earlier one is dashed, so that
  /// both are seen.
  void line(const std::vector<Point>& points, std::size_t series, Style style);
  /// A dot with a whisker along x, if `along_x` is set, or y.
  void dot(const Point& point, std::size_t series, bool along_x);
  /// A thin grey line between two places.
  void rule(double x1, double y1, double x2, double y2, bool dashed);
  /// Names of the series, by their numbers.
  void legend(const std::vector<std::string>& names);
  /// The whole picture.
  [[nodiscard]] std::string svg() const;
  [[nodiscard]] double width() const { return width_; }
  [[nodiscard]] double height() const { return height_ + legend_; }

 private:
  [[nodiscard]] double px(double x) const;
  [[nodiscard]] double py(double y) const;
  void draw_axes();

  std::string title_, subtitle_, body_;
  Axis x_, y_;
  double width_, top_, height_, legend_ = 0;
  std::map<std::string, std::size_t> equal_lines_;  ///< Lines drawn by their path, to see which are equal
};

/// Charts beside each other in one picture. @param names  of the series, in one legend below them
std::string side_by_side(const std::vector<Chart>& charts, const std::string& title, const std::vector<std::string>& names);

/// A row of dots with whiskers along x: an interval for each series, or none.
struct IntervalRow {
  std::string title;
  std::vector<std::optional<Chart::Point>> series;  ///< Their x, low and high count
};

struct IntervalChart {
  std::string title, subtitle, axis;
  double reference = 0.5;           ///< Place of the dashed line, which the axis always shows
  double low = 0, high = 1;         ///< The axis ends here at the latest
  std::vector<std::string> series;  ///< Names of the series
  std::vector<IntervalRow> rows;    ///< From top to bottom
  double width = 860;
};
std::string svg_of(const IntervalChart& chart);

/// A grid of cells whose colour shows a value between -1 and 1, with the value in each: correlations, shares.
struct HeatMap {
  std::string title, subtitle;
  std::vector<std::string> rows, columns;
  std::vector<std::vector<double>> values;      ///< [rows][columns]; NaN = an empty cell
  std::vector<std::vector<std::string>> words;  ///< What stands in each cell
};
std::string svg_of(const HeatMap& map);

/// Round numbers between two values, about `count` of them.
std::vector<std::pair<double, std::string>> round_ticks(double low, double high, int count);

}  // namespace dmoerm
