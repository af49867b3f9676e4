// Pieces of a page that stands alone: text, tables, figures, sections. What comes from a run is escaped here and nowhere else.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace dmoerm::report {

/// Text as it may stand in HTML. Line ends stay, other control characters become '?'.
std::string escaped(std::string_view text);
std::string paragraph(std::string_view text);
/// A quieter paragraph: how to read a figure, or why a section is empty.
std::string note(std::string_view text);

struct Table {
  std::vector<std::string> head;
  std::vector<std::vector<std::string>> rows;
  std::size_t words = 1;  ///< Columns from the left that hold words; the others hold numbers, to the right
};
std::string table(const Table& table);
/// An SVG with what it shows in words, for readers who do not see it.
std::string figure(const std::string& svg, std::string_view words);
/// A part that is folded away. @param body  HTML
std::string folded(std::string_view title, const std::string& body);
/// A whole number with its thousands apart; "-" for NaN and infinity.
std::string whole_number(double value);
std::string heading(std::string_view title);

struct Section {
  std::string id, title;
  std::string body;  ///< HTML
};

struct Page {
  std::string title;
  std::string lead;  ///< HTML below the title
  std::vector<Section> sections;
  std::string script;  ///< JavaScript at the end of the page; "" = none
};
/// The whole page. Its policy forbids every request to the network, whatever the script does.
std::string html_of(const Page& page);

}  // namespace dmoerm::report
