#include "cli/unexpected.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <set>
#include <vector>

#include "cli/command_tree.h"
#include "config/nearest.h"

namespace dmoerm::cli {
namespace {

/// Options that mean the same to a user, whichever of them a verb has.
const std::vector<std::vector<std::string>>& same_meanings() {
  static const std::vector<std::vector<std::string>> kSame = {{"--input", "--inputs", "--data", "--file", "--benchmark", "--in"},
                                                              {"--out", "--output", "--output-dir", "-o"},
                                                              {"--bundle", "--model", "--bundles", "--models"},
                                                              {"--config", "--configuration", "-c"},
                                                              {"--threads", "--jobs", "-j"}};
  return kSame;
}

std::vector<std::string> names_of(const CLI::App& verb) {
  std::vector<std::string> names;
  for (const CommandOption& option : command_tree(verb).options) {
    for (const std::string& name : option.names) names.push_back(name);
  }
  return names;
}

/// The verb's options that an unknown one may stand for.
std::vector<std::string> meant_by(const std::string& unknown, const std::vector<std::string>& names) {
  std::vector<std::string> meant;
  const auto has = [&](const std::string& name) { return std::ranges::find(names, name) != names.end(); };
  for (const std::vector<std::string>& same : same_meanings()) {
    if (std::ranges::find(same, unknown) != same.end()) std::ranges::copy_if(same, std::back_inserter(meant), has);
  }
  if (!meant.empty()) return meant;
  if (const auto close = config::nearest(unknown, names)) meant.push_back(*close);
  return meant;
}

}  // namespace

std::string unexpected_text(const CLI::App& program) {
  const CLI::App* verb = &program;
  std::string words;
  while (!verb->get_subcommands().empty()) {
    verb = verb->get_subcommands().front();
    words += (words.empty() ? "" : " ") + verb->get_name();
  }
  const std::vector<std::string> left = verb->remaining(false);
  if (words.empty() || left.empty()) return "";
  const std::vector<std::string> names = names_of(*verb);
  std::vector<std::string> meant;
  for (const std::string& word : left) {
    if (!word.starts_with('-')) continue;
    for (const std::string& name : meant_by(word.substr(0, word.find('=')), names)) {
      if (std::ranges::find(meant, name) == meant.end()) meant.push_back(name);
    }
  }
  return fmt::format("{}: not expected: {}{}", words, fmt::join(left, " "),
                     meant.empty() ? "" : fmt::format("; {} has {}", words, fmt::join(meant, " and ")));
}

}  // namespace dmoerm::cli
