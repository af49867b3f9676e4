// dmoerm licences: what the program is made of.
#include <fmt/format.h>

#include <string>

#include "cli/embedded.h"
#include "cli/verbs.h"

namespace dmoerm::cli {
namespace {

/// The document for a terminal: the words of its links, with the addresses of pages behind them.
std::string without_links(std::string_view document) {
  std::string text;
  while (!document.empty()) {
    const std::size_t open = document.find('[');
    const std::size_t middle = open == std::string_view::npos ? open : document.find("](", open);
    const std::size_t close = middle == std::string_view::npos ? middle : document.find(')', middle);
    if (close == std::string_view::npos) break;
    const std::string_view target = document.substr(middle + 2, close - middle - 2);
    text += document.substr(0, open);
    text += document.substr(open + 1, middle - open - 1);
    if (target.starts_with("http")) text += fmt::format(" ({})", target);
    document.remove_prefix(close + 1);
  }
  return text += document;
}

}  // namespace

void add_licences(CLI::App& app) {
  app.add_subcommand("licences", "Print the licences of the program and of what it uses")
      ->footer(example("licences"))
      ->callback([] { fmt::print("{}", without_links(kLicences)); });
}

}  // namespace dmoerm::cli
