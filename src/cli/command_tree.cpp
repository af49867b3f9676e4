#include "cli/command_tree.h"

#include "cli/verbs.h"

namespace dmoerm::cli {
namespace {

/// The words of "TEXT:{jsonl,csv}", as CLI::IsMember describes itself.
std::vector<std::string> choices_of(const std::string& type) {
  const std::size_t open = type.find('{');
  const std::size_t close = type.find('}', open);
  if (open == std::string::npos || close == std::string::npos) return {};
  return CLI::detail::split(type.substr(open + 1, close - open - 1), ',');
}

CommandOption option_of(const CLI::Option& option) {
  CommandOption found;
  for (const std::string& name : option.get_snames()) found.names.push_back("-" + name);
  for (const std::string& name : option.get_lnames()) found.names.push_back("--" + name);
  if (option.get_items_expected_max() > 0) {
    const std::string type = option.get_type_name();
    found.choices = choices_of(type);
    found.value = type.substr(0, type.find(':'));
    // An argument is shown by its own name, unless completion needs to know that it is a path.
    if (found.names.empty() && !found.takes_path()) found.value = option.get_name(true);
  }
  found.help = option.get_description();
  found.default_value = option.get_default_str();
  found.required = option.get_required();
  found.repeats = option.get_items_expected_max() > 1;
  return found;
}

Command command_of(const CLI::App& app, const std::string& words) {
  Command command;
  command.words = words;
  command.help = app.get_description();
  command.footer = app.get_footer();
  for (const bool with_name : {true, false}) {
    for (const CLI::Option* option : app.get_options()) {
      const bool has_name = !option->get_lnames().empty() || !option->get_snames().empty();
      if (!option->get_group().empty() && has_name == with_name) command.options.push_back(option_of(*option));
    }
  }
  for (const CLI::App* sub : app.get_subcommands(std::function<bool(const CLI::App*)>())) {
    if (!sub->get_group().empty())
      command.commands.push_back(command_of(*sub, words + (words.empty() ? "" : " ") + sub->get_name()));
  }
  return command;
}

}  // namespace

bool CommandOption::takes_path() const { return value == kFile || value == kFolder; }

Command command_tree(const CLI::App& app) { return command_of(app, ""); }

std::vector<const Command*> all_commands(const Command& command) {
  std::vector<const Command*> all = {&command};
  for (const Command& sub : command.commands) {
    for (const Command* below : all_commands(sub)) all.push_back(below);
  }
  return all;
}

}  // namespace dmoerm::cli
