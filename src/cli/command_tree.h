// The verbs and options of the command line as plain data, read from CLI11's definitions: what completion and the man page show.
#pragma once
#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace dmoerm::cli {

struct CommandOption {
  std::vector<std::string> names;    ///< As typed, such as --config; empty for an argument without a name
  std::string value;                 ///< What stands for its value in the help, such as FILE; empty for a flag
  std::vector<std::string> choices;  ///< The only values that it takes; empty if it takes others
  std::string help;
  std::string default_value;  ///< Empty if the help shows none
  bool required = false;
  bool repeats = false;

  [[nodiscard]] bool takes_path() const;  ///< Whether files complete its value
};

struct Command {
  std::string words;  ///< What is typed after the program's name, such as "inspect tokens"; empty for the program itself
  std::string help;
  std::string footer;
  std::vector<CommandOption> options;  ///< In the help's order, those with names first
  std::vector<Command> commands;
};

/// The tree of `app`, without what the help does not list.
Command command_tree(const CLI::App& app);
/// `command` and all below it, each before its own.
std::vector<const Command*> all_commands(const Command& command);

/// A script that completes verbs, options, their values and file names. @param shell bash, zsh or fish
std::string completion_script(const Command& program, const std::string& shell);
/// A page for man(1) in roff. @param version stands in its footer
std::string man_page(const Command& program, const std::string& version);

}  // namespace dmoerm::cli
