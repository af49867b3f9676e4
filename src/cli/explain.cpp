// dmoerm explain: what a refusal's code means and what to do.
#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "base/text.h"
#include "cli/embedded.h"
#include "cli/error_table.h"
#include "cli/verbs.h"

namespace dmoerm::cli {
namespace {

constexpr std::string_view kRetired = "## Retired codes";

/// Number of single changes that make `a` of `b`.
std::size_t changes_between(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i + 1);
    for (std::size_t j = 0; j < b.size(); ++j)
      diagonal = std::exchange(row[j + 1], std::min({row[j + 1] + 1, row[j] + 1, diagonal + (a[i] == b[j] ? 0 : 1)}));
  }
  return row.back();
}

/// Words of a code that begin like words of the other one.
std::size_t shared_words(std::string_view a, std::string_view b) {
  std::size_t shared = 0;
  for (std::size_t begin = 0; begin < a.size();) {
    const std::size_t end = std::min(a.find('-', begin), a.size());
    const std::string_view word = a.substr(begin, end - begin);
    if (word.size() > 2 && b.find(word) != std::string_view::npos) ++shared;
    begin = end + 1;
  }
  return shared;
}

void explain(const std::string& word, bool list) {
  const std::vector<ErrorRow> rows = error_rows(kErrorTable);
  if (list) {
    for (const ErrorRow& row : rows) fmt::print("{:<32} {}\n", row.code, row.meaning);
    return;
  }
  if (word.empty()) throw ConfigError("no-code-given", "give the code at the end of a message, or --list for all of them");
  const std::string code = lower(trim(word, " []()'\"`."));
  const auto found = std::ranges::find(rows, code, &ErrorRow::code);
  if (found == rows.end()) {
    std::string near;
    for (const std::string& like : similar_codes(rows, code, 3)) near += (near.empty() ? "" : ", ") + like;
    throw ConfigError("no-such-code", fmt::format("{}: no message has this code; {}", word,
                                                  near.empty() ? "--list shows all codes" : "similar codes: " + near));
  }
  fmt::print("{}\n\n{}\nWhat to do: {}\n", found->code, found->meaning, found->advice);
}

}  // namespace

std::vector<ErrorRow> error_rows(std::string_view document) {
  std::vector<ErrorRow> rows;
  document = document.substr(0, document.find(kRetired));
  for (std::size_t begin = 0; begin < document.size();) {
    const std::size_t end = std::min(document.find('\n', begin), document.size());
    const std::string_view line = document.substr(begin, end - begin);
    begin = end + 1;
    if (!line.starts_with("| `")) continue;
    std::vector<std::string> cells;
    for (std::size_t at = 1; at < line.size();) {
      const std::size_t bar = std::min(line.find('|', at), line.size());
      cells.emplace_back(trim(line.substr(at, bar - at)));
      at = bar + 1;
    }
    if (cells.size() == 3) rows.push_back({std::string(trim(cells[0], "`")), cells[1], cells[2]});
  }
  return rows;
}

std::vector<std::string> similar_codes(const std::vector<ErrorRow>& rows, std::string_view word, std::size_t most) {
  std::vector<std::string> codes;
  for (const ErrorRow& row : rows) codes.push_back(row.code);
  std::ranges::stable_sort(codes, {}, [&](const std::string& code) {
    const auto far = static_cast<std::ptrdiff_t>(changes_between(word, code));
    return far - 4 * static_cast<std::ptrdiff_t>(shared_words(word, code));
  });
  std::erase_if(codes, [&](const std::string& code) { return changes_between(word, code) > 3 && shared_words(word, code) == 0; });
  codes.resize(std::min(codes.size(), most));
  return codes;
}

void add_explain(CLI::App& app) {
  struct Options {
    std::string code;
    bool list = false;
  };
  auto options = std::make_shared<Options>();
  CLI::App* verb = app.add_subcommand("explain", "Say what the code at the end of a message means, and what to do");
  verb->footer(example("explain unknown-key"));
  verb->add_option("code", options->code, "The code, such as unknown-key");
  verb->add_flag("--list", options->list, "List all codes with their meanings");
  verb->callback([options] { explain(options->code, options->list); });
}

}  // namespace dmoerm::cli
