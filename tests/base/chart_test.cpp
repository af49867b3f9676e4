// Charts keep all of their words within their width, and lines that are equal are all seen.
#include "base/chart.h"

#include <gtest/gtest.h>

#include <regex>

namespace dmoerm {
namespace {

std::vector<std::vector<std::string>> all_of(const std::string& svg, const std::string& pattern) {
  const std::regex expression(pattern);
  std::vector<std::vector<std::string>> found;
  for (std::sregex_iterator match(svg.begin(), svg.end(), expression), end; match != end; ++match) {
    std::vector<std::string>& parts = found.emplace_back();
    for (const auto& part : *match) parts.push_back(part.str());
  }
  return found;
}

const std::string kWords = "Share of validation pairs in the right order, at each evaluation.";

Chart chart_of(double width, const std::string& title = "base of chat: accuracy") {
  return {title, kWords, {"step", 0, 10}, {"accuracy", 0, 1}, width, 300};
}

TEST(Chart, BreaksASubtitleThatIsLongerThanItsWidth) {
  const auto lines = [](const std::string& svg) {
    return all_of(svg, "<text x=\"24\" y=\"([0-9]+)\" class=\"note\"[^>]*>([^<]*)</text>");
  };
  const Chart narrow = chart_of(440), wide = chart_of(860);
  const auto broken = lines(narrow.svg()), whole = lines(wide.svg());
  ASSERT_EQ(whole.size(), 1U);
  EXPECT_EQ(whole[0][2], kWords);
  ASSERT_EQ(broken.size(), 2U);
  EXPECT_EQ(broken[0][2] + " " + broken[1][2], kWords);
  EXPECT_LE(broken[0][2].size() * 6.6, 440 - 48);
  EXPECT_GT(std::stoi(broken[1][1]), std::stoi(broken[0][1]));
  EXPECT_EQ(wide.height(), 300);
  EXPECT_EQ(narrow.height(), 315) << "the lines have as much room as before";
}

TEST(Chart, BreaksATitleToo) {
  const std::string svg = chart_of(440, "base of a category with a name of many words: accuracy").svg();
  const auto lines = all_of(svg, "<text x=\"24\" y=\"([0-9]+)\" font-size=\"16\"[^>]*>([^<]*)</text>");
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_EQ(lines[0][2] + " " + lines[1][2], "base of a category with a name of many words: accuracy");
  const auto below = all_of(svg, "<text x=\"24\" y=\"([0-9]+)\" class=\"note\"");
  EXPECT_GT(std::stoi(below[0][1]), std::stoi(lines[1][1]));
}

TEST(Chart, DashesALineThatIsEqualToAnEarlierOne) {
  Chart chart = chart_of(860);
  const std::vector<Chart::Point> points = {{0, 0.5}, {10, 0.7}}, others = {{0, 0.5}, {10, 0.8}};
  chart.line(points, 0, Chart::Style::plain);
  chart.line(others, 1, Chart::Style::plain);
  chart.line(points, 2, Chart::Style::plain);
  chart.line(points, 3, Chart::Style::plain);
  const auto lines = all_of(chart.svg(), "<path d=\"M[^\"]*\" fill=\"none\"([^>]*)/>");
  ASSERT_EQ(lines.size(), 4U);
  const auto dashes = [&](std::size_t i) {
    const auto found = all_of(lines[i][1], "dasharray=\"([^\"]*)\" stroke-dashoffset=\"([^\"]*)\"");
    return found.empty() ? std::string() : found[0][1] + " from " + found[0][2];
  };
  EXPECT_EQ(dashes(0), "");
  EXPECT_EQ(dashes(1), "");
  EXPECT_EQ(dashes(2), "7 7 from 0");
  EXPECT_EQ(dashes(3), "7 21 from -7") << "in what the line before leaves free";
}

}  // namespace
}  // namespace dmoerm
