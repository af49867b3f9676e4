#include "base/chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/text.h"
#include "base/xml_text.h"

namespace dmoerm {
namespace {

// Hues that stay apart for colour-blind eyes.
constexpr const char* kHues[] = {"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a5195", "#6b6b6b"};
constexpr double kTop = 62, kBottom = 58, kLeft = 24, kRight = 24, kLetter = 6.6;
constexpr double kTitleLetter = 9.2, kTitleLine = 20, kSubtitleLine = 15;

const char* hue(std::size_t series) { return kHues[series % std::size(kHues)]; }

/// The marks and names of the series in lines of at most `width` from `y` on. @return the SVG, and y of the last line
std::pair<std::string, double> legend_of(const std::vector<std::string>& names, double width, double y) {
  std::string marks;
  double x = 24;
  for (std::size_t i = 0; i < names.size(); ++i) {
    const double needed = 34 + kLetter * static_cast<double>(utf8_characters(names[i]));
    if (x + needed > width - kRight && x > 24) x = 24, y += 19;
    marks += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"5\" fill=\"{}\"/>", x, y - 4, hue(i));
    marks += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\">{}</text>\n", x + 10, y, xml_escaped(names[i]));
    x += needed;
  }
  return {marks, y};
}

/// A text in lines that a width has room for; a word that is longer has a line of its own. At least one line.
std::vector<std::string> lines_of(const std::string& text, double width, double letter) {
  const auto most = static_cast<std::size_t>(std::max(1.0, (width - kLeft - kRight) / letter));
  std::vector<std::string> lines(1);
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find(' ', begin), text.size());
    const std::string word = text.substr(begin, end - begin);
    std::string& line = lines.back();
    if (!line.empty() && utf8_characters(line) + 1 + utf8_characters(word) > most) {
      lines.push_back(word);
    } else {
      line += (line.empty() ? "" : " ") + word;
    }
    begin = end + 1;
  }
  return lines;
}

/// Title and subtitle of a picture, in as many lines as they need.
struct Head {
  std::vector<std::string> title, subtitle;

  Head(const std::string& title_text, const std::string& subtitle_text, double width)
      : title(lines_of(title_text, width, kTitleLetter)), subtitle(lines_of(subtitle_text, width, kLetter)) {}
  /// What it takes beyond one line of each.
  [[nodiscard]] double further_lines() const {
    return kTitleLine * static_cast<double>(title.size() - 1) + kSubtitleLine * static_cast<double>(subtitle.size() - 1);
  }
  [[nodiscard]] std::string svg() const {
    std::string text;
    double y = 26;
    for (const std::string& line : title) {
      text += fmt::format("<text x=\"{:.0f}\" y=\"{:.0f}\" font-size=\"16\" font-weight=\"bold\">{}</text>\n", kLeft, y,
                          xml_escaped(line));
      y += kTitleLine;
    }
    y -= 1;
    for (const std::string& line : subtitle) {
      text +=
          fmt::format("<text x=\"{:.0f}\" y=\"{:.0f}\" class=\"note\" fill=\"#505050\">{}</text>\n", kLeft, y, xml_escaped(line));
      y += kSubtitleLine;
    }
    return text;
  }
};

std::string svg_page(const std::string& title, const std::string& subtitle, double width, double height,
                     const std::string& body) {
  return fmt::format(
             "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0:.0f}\" height=\"{1:.0f}\" viewBox=\"0 0 {0:.0f} {1:.0f}\" "
             "font-family=\"Helvetica, Arial, sans-serif\" font-size=\"12\">\n<rect class=\"paper\" width=\"100%\" "
             "height=\"100%\" fill=\"white\"/>\n",
             width, height) +
         Head(title, subtitle, width).svg() + body + "</svg>\n";
}

/// How the line that covers `before` equal ones is dashed, so that each of them shows through: 7 of every 14 units for the
/// second, and for each further one half of what is left.
std::string dashes_over(std::size_t before) {
  if (before == 0) return "";
  constexpr double kDash = 7;
  const double parts = std::exp2(static_cast<double>(std::min<std::size_t>(before, 8)));  // of one period
  return fmt::format(" stroke-dasharray=\"{:.0f} {:.0f}\" stroke-dashoffset=\"{:.0f}\"", kDash, kDash * (parts - 1),
                     kDash * (1 - parts / 2));
}

}  // namespace

std::vector<std::pair<double, std::string>> round_ticks(double low, double high, int count) {
  const double raw = std::max(1e-12, (high - low) / count), power = std::pow(10, std::floor(std::log10(raw)));
  double step = 10 * power;
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (factor * power >= raw) {
      step = factor * power;
      break;
    }
  }
  const int digits = std::clamp(static_cast<int>(std::ceil(-std::log10(step) - 1e-9)), 0, 6);
  std::vector<std::pair<double, std::string>> ticks;
  for (double k = std::ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; ++k)
    ticks.emplace_back(k * step, fmt::format("{:.{}f}", k * step + 0.0, digits));
  return ticks;
}

Chart::Chart(std::string title, std::string subtitle, Axis x, Axis y, double width, double height)
    : title_(std::move(title)),
      subtitle_(std::move(subtitle)),
      x_(std::move(x)),
      y_(std::move(y)),
      width_(width),
      top_(kTop + Head(title_, subtitle_, width).further_lines()),
      height_(height + top_ - kTop) {
  if (x_.ticks.empty()) x_.ticks = round_ticks(x_.low, x_.high, 8);
  if (y_.ticks.empty()) y_.ticks = round_ticks(y_.low, y_.high, 6);
  draw_axes();
}

double Chart::px(double x) const {
  std::size_t longest = 4;
  for (const auto& [at, label] : y_.ticks) longest = std::max(longest, utf8_characters(label));
  const double left = 40 + kLetter * static_cast<double>(std::min<std::size_t>(longest, 40));
  return left + (x - x_.low) / (x_.high - x_.low) * (width_ - left - kRight);
}

double Chart::py(double y) const { return height_ - kBottom - (y - y_.low) / (y_.high - y_.low) * (height_ - top_ - kBottom); }

void Chart::draw_axes() {
  const double left = px(x_.low), right = px(x_.high), top = py(y_.high), bottom = py(y_.low);
  for (const auto& [at, label] : x_.ticks) {
    body_ +=
        fmt::format("<line x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1:.1f}\" y2=\"{2:.1f}\" class=\"grid\" stroke=\"#e4e4e4\"/>\n",
                    px(at), top, bottom);
    body_ += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{}</text>\n", px(at), bottom + 17,
                         xml_escaped(label));
  }
  for (const auto& [at, label] : y_.ticks) {
    body_ += fmt::format("<line x1=\"{:.1f}\" x2=\"{:.1f}\" y1=\"{:.1f}\" y2=\"{:.1f}\" class=\"grid\" stroke=\"#e4e4e4\"/>\n",
                         left, right, py(at), py(at));
    const std::string shown = utf8_characters(label) <= 40 ? label : std::string(utf8_prefix(label, 38)) + "…";
    body_ +=
        fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"end\">{}</text>\n", left - 7, py(at) + 4, xml_escaped(shown));
  }
  body_ += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{}</text>\n", (left + right) / 2, bottom + 38,
                       xml_escaped(x_.title));
  if (!y_.title.empty())
    body_ += fmt::format("<text transform=\"translate(16 {:.1f}) rotate(-90)\" text-anchor=\"middle\">{}</text>\n",
                         (top + bottom) / 2, xml_escaped(y_.title));
}

void Chart::line(const std::vector<Point>& points, std::size_t series, Style style) {
  if (points.empty()) return;
  std::string path, area, back;
  for (const Point& p : points) {
    path += fmt::format("{}{:.1f} {:.1f}", path.empty() ? "M" : " L", px(p.x), py(p.y));
    area += fmt::format("{}{:.1f} {:.1f}", area.empty() ? "M" : " L", px(p.x), py(p.high));
    back = fmt::format(" L{:.1f} {:.1f}", px(p.x), py(p.low)) + back;
  }
  if (style == Style::with_band)
    body_ += fmt::format("<path d=\"{}{} Z\" fill=\"{}\" fill-opacity=\"0.15\"/>\n", area, back, hue(series));
  const bool dashed = style == Style::dashed;
  const std::size_t before = dashed ? 0 : equal_lines_[path]++;
  body_ += fmt::format("<path d=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"{}\"{}/>\n", path, hue(series),
                       dashed ? 1.3 : 2, dashed ? " stroke-dasharray=\"5 4\"" : dashes_over(before));
  if (dashed) return;
  const double radius = 2.6 * std::pow(0.65, static_cast<double>(before));  // the dots below show around it
  for (const Point& p : points)
    body_ += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"{:.1f}\" fill=\"{}\"><title>{:.4g}: {:.4g}</title></circle>\n",
                         px(p.x), py(p.y), radius, hue(series), p.x, p.y);
}

void Chart::dot(const Point& p, std::size_t series, bool along_x) {
  const double x = px(p.x), y = py(p.y);
  if (p.high > p.low) {
    const double x1 = along_x ? px(p.low) : x, x2 = along_x ? px(p.high) : x, y1 = along_x ? y : py(p.low),
                 y2 = along_x ? y : py(p.high);
    body_ += fmt::format("<line x1=\"{:.1f}\" x2=\"{:.1f}\" y1=\"{:.1f}\" y2=\"{:.1f}\" stroke=\"{}\" stroke-width=\"1.6\"/>\n",
                         x1, x2, y1, y2, hue(series));
  }
  const std::string whole = p.high > p.low ? fmt::format(" [{:.3f}, {:.3f}]", p.low, p.high) : "";
  body_ += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"4\" fill=\"{}\"><title>{:.3f}{}</title></circle>\n", x, y,
                       hue(series), along_x ? p.x : p.y, whole);
}

void Chart::rule(double x1, double y1, double x2, double y2, bool dashed) {
  body_ += fmt::format("<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" stroke=\"#808080\"{}/>\n", px(x1), py(y1),
                       px(x2), py(y2), dashed ? " stroke-dasharray=\"4 4\"" : "");
}

void Chart::legend(const std::vector<std::string>& names) {
  const auto [marks, end] = legend_of(names, width_, height_ + 4);
  body_ += marks;
  legend_ = end - height_ + 14;
}

std::string Chart::svg() const { return svg_page(title_, subtitle_, width_, height_ + legend_, body_); }

std::string side_by_side(const std::vector<Chart>& charts, const std::string& title, const std::vector<std::string>& names) {
  double width = 0, height = 0;
  for (const Chart& chart : charts) width += chart.width();
  const double top = 36 + Head(title, "", width).further_lines();
  std::string body;
  double left = 0;
  for (const Chart& chart : charts) {
    body += fmt::format("<svg x=\"{:.0f}\" y=\"{:.0f}\" {}", left, top, chart.svg().substr(std::string_view("<svg ").size()));
    left += chart.width();
    height = std::max(height, top + chart.height());
  }
  const auto [marks, end] = legend_of(names, width, height + 8);
  return svg_page(title, "", width, end + 14, body + marks);
}

std::string svg_of(const IntervalChart& chart) {
  double low = chart.reference, high = chart.reference;
  for (const IntervalRow& row : chart.rows) {
    for (const auto& point : row.series) {
      if (!point) continue;
      low = std::min(low, std::min(point->x, point->low));
      high = std::max(high, std::max(point->x, point->high));
    }
  }
  const double edge = std::max(0.004, 0.04 * (high - low));
  Axis x{chart.axis, std::max(chart.low, low - edge), std::min(chart.high, high + edge)},
      y{"", 0, static_cast<double>(chart.rows.size())};
  for (std::size_t r = 0; r < chart.rows.size(); ++r)
    y.ticks.emplace_back(y.high - 0.5 - static_cast<double>(r), chart.rows[r].title);
  const double step = std::max(14.0, 8.0 + 9.0 * static_cast<double>(chart.series.size()));
  Chart drawn(chart.title, chart.subtitle, x, y, chart.width, 122 + step * static_cast<double>(chart.rows.size()));
  drawn.rule(chart.reference, 0, chart.reference, y.high, true);
  for (std::size_t r = 0; r < chart.rows.size(); ++r) {
    for (std::size_t s = 0; s < chart.rows[r].series.size(); ++s) {
      const auto& point = chart.rows[r].series[s];
      if (!point) continue;
      const double offset = (static_cast<double>(s) + 1) / static_cast<double>(chart.series.size() + 1) - 0.5;
      drawn.dot({point->x, y.ticks[r].first - 0.8 * offset, point->low, point->high}, s, true);
    }
  }
  if (chart.series.size() > 1) drawn.legend(chart.series);
  return drawn.svg();
}

namespace {

std::string shortened(const std::string& label, std::size_t most) {
  return utf8_characters(label) <= most ? label : std::string(utf8_prefix(label, most - 1)) + "…";
}

}  // namespace

std::string svg_of(const HeatMap& map) {
  constexpr std::size_t kLabel = 26;
  constexpr double kCell = 30;
  std::size_t row_label = 4, column_label = 4;
  for (const std::string& label : map.rows) row_label = std::max(row_label, std::min(kLabel, utf8_characters(label)));
  for (const std::string& label : map.columns) column_label = std::max(column_label, std::min(kLabel, utf8_characters(label)));
  const double cell = std::max(kCell, 46 - static_cast<double>(map.columns.size()));
  const double left = 20 + kLetter * static_cast<double>(row_label);
  const double top = (map.subtitle.empty() ? 42 : kTop) + 0.72 * kLetter * static_cast<double>(column_label) + 8;
  const double rise = 0.72 * kLetter * static_cast<double>(column_label);
  const double width = std::max(left + cell * static_cast<double>(map.columns.size()) + rise + 30,
                                kLeft + kRight +
                                    1.15 * std::max(kLetter * static_cast<double>(utf8_characters(map.subtitle)),
                                                    kTitleLetter * static_cast<double>(utf8_characters(map.title))));
  std::string body;
  for (std::size_t c = 0; c < map.columns.size(); ++c)
    body +=
        fmt::format("<text transform=\"translate({:.1f} {:.1f}) rotate(-45)\">{}</text>\n",
                    left + cell * (static_cast<double>(c) + 0.5) + 3, top - 6, xml_escaped(shortened(map.columns[c], kLabel)));
  for (std::size_t r = 0; r < map.rows.size(); ++r) {
    const double y = top + kCell * static_cast<double>(r);
    body += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"end\">{}</text>\n", left - 7, y + kCell / 2 + 4,
                        xml_escaped(shortened(map.rows[r], kLabel)));
    for (std::size_t c = 0; c < map.columns.size(); ++c) {
      const double value = map.values[r][c], x = left + cell * static_cast<double>(c);
      if (!std::isnan(value))
        body += fmt::format(
            "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" fill=\"{}\" fill-opacity=\"{:.3f}\"><title>{}, "
            "{}: {}</title></rect>\n",
            x + 1, y + 1, cell - 2, kCell - 2, value < 0 ? kHues[1] : kHues[0], 0.04 + 0.56 * std::min(1.0, std::abs(value)),
            xml_escaped(map.rows[r]), xml_escaped(map.columns[c]), xml_escaped(map.words[r][c]));
      body += fmt::format(
          "<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\" font-size=\"11\" pointer-events=\"none\">{}</text>\n",
          x + cell / 2, y + kCell / 2 + 4, xml_escaped(map.words[r][c]));
    }
  }
  return svg_page(map.title, map.subtitle, width, top + kCell * static_cast<double>(map.rows.size()) + 14, body);
}

}  // namespace dmoerm
