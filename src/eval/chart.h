// Draws charts as SVG: axes with ticks, lines, bands, dots with whiskers, a legend.
#pragma once
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace dmoerm::eval {

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

  /// @param subtitle  one line below the title that says how to read the chart
  Chart(std::string title, std::string subtitle, Axis x, Axis y, double width = 860, double height = 460);

  /// A line through points; a band lies between their `low` and `high`.
  void line(const std::vector<Point>& points, std::size_t series, Style style);
  /// A dot with a whisker along x, if `along_x` is set, or y.
  void dot(const Point& point, std::size_t series, bool along_x);
  /// A thin grey line between two places.
  void rule(double x1, double y1, double x2, double y2, bool dashed);
  /// Names of the series, by their numbers.
  void legend(const std::vector<std::string>& names);
  /// The whole picture.
  [[nodiscard]] std::string svg() const;

 private:
  [[nodiscard]] double px(double x) const;
  [[nodiscard]] double py(double y) const;
  void draw_axes();

  std::string title_, subtitle_, body_;
  Axis x_, y_;
  double width_, height_, legend_ = 0;
};

/// Round numbers between two values, about `count` of them.
std::vector<std::pair<double, std::string>> round_ticks(double low, double high, int count);

}  // namespace dmoerm::eval
