#include "report/html.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "base/xml_text.h"
#include "report/embedded.h"
#include "watch/text_cells.h"

namespace dmoerm::report {

namespace {

constexpr int kLargeWidth = 640;

}  // namespace

std::string escaped(std::string_view text) {
  std::string html;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    html += (begin > 0 ? "\n" : "") + xml_escaped(watch::printable(text.substr(begin, end - begin)));
    begin = end + 1;
  }
  return html;
}

std::string paragraph(std::string_view text) { return fmt::format("<p>{}</p>\n", escaped(text)); }
std::string note(std::string_view text) { return fmt::format("<p class=\"note\">{}</p>\n", escaped(text)); }
std::string heading(std::string_view title) { return fmt::format("<h3>{}</h3>\n", escaped(title)); }

std::string table(const Table& table) {
  const auto row = [&](const std::vector<std::string>& cells, const char* tag) {
    std::string html = "<tr>";
    for (std::size_t c = 0; c < cells.size(); ++c)
      html += fmt::format("<{}{}>{}</{}>", tag, c < table.words ? " class=\"l\"" : "", escaped(cells[c]), tag);
    return html + "</tr>\n";
  };
  std::string html = "<div class=\"wide\" tabindex=\"0\"><table>\n<thead>" + row(table.head, "th") + "</thead>\n<tbody>\n";
  for (const auto& cells : table.rows) html += row(cells, "td");
  return html + "</tbody></table></div>\n";
}

std::string figure(const std::string& svg, std::string_view words) {
  // A large one scrolls on a narrow screen; a small one shrinks.
  const std::size_t width = svg.find(" width=\"");
  const bool large = width != std::string::npos && std::atoi(svg.c_str() + width + 8) > kLargeWidth;
  return fmt::format("<figure class=\"wide{}\" tabindex=\"0\"><svg role=\"img\" aria-label=\"{}\" {}</figure>\n",
                     large ? " large" : "", escaped(words), std::string_view(svg).substr(std::string_view("<svg ").size()));
}

std::string folded(std::string_view title, const std::string& body) {
  return fmt::format("<details><summary>{}</summary>\n{}</details>\n", escaped(title), body);
}

std::string whole_number(double value) {
  if (!std::isfinite(value)) return "-";
  std::string digits = fmt::format("{:.0f}", std::abs(value));
  for (std::ptrdiff_t at = std::ssize(digits) - 3; at > 0; at -= 3) digits.insert(static_cast<std::size_t>(at), "\u202f");
  return (value < 0 ? "-" : "") + digits;
}

std::string html_of(const Page& page) {
  std::string html = fmt::format(
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n<meta name=\"viewport\" "
      "content=\"width=device-width, initial-scale=1\">\n<meta http-equiv=\"Content-Security-Policy\" content=\"default-src "
      "'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:\">\n<title>{}</title>\n<style>\n{}</style>\n"
      "</head><body>\n<main>\n<h1>{}</h1>\n{}<nav>",
      escaped(page.title), kPageStyle, escaped(page.title), page.lead);
  for (const Section& s : page.sections) html += fmt::format("<a href=\"#{}\">{}</a>\n", s.id, escaped(s.title));
  html += "</nav>\n";
  for (const Section& s : page.sections)
    html += fmt::format("<section id=\"{}\">\n<h2>{}</h2>\n{}</section>\n", s.id, escaped(s.title), s.body);
  html += "</main>\n";
  if (!page.script.empty()) html += "<script>\n" + page.script + "\n</script>\n";
  return html + "</body></html>\n";
}

}  // namespace dmoerm::report
