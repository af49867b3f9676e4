// dmoerm man: the manual page, made from the same definitions as --help.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "cli/command_tree.h"
#include "cli/verbs.h"
#include "cli/version.h"

namespace dmoerm::cli {
namespace {

/// `text` as roff shows it: a line that begins with a dot or a quote would be a request.
std::string roff(const std::string& text) {
  std::string shown;
  for (const char c : text) {
    const bool line_begins = shown.empty() || shown.back() == '\n';
    if (line_begins && (c == '.' || c == '\'')) shown += "\\&";
    if (c == '\\')
      shown += "\\e";
    else if (c == '-')
      shown += "\\-";
    else
      shown += c;
  }
  return shown;
}

std::string heading(const CommandOption& option) {
  std::string text;
  for (const std::string& name : option.names) text += fmt::format("{}\\fB{}\\fR", text.empty() ? "" : ", ", roff(name));
  if (!option.value.empty()) {
    const std::string value =
        option.choices.empty() ? "\\fI" + roff(option.value) + "\\fR" : roff(fmt::format("{}", fmt::join(option.choices, "|")));
    text += (text.empty() ? "" : " ") + value + (option.repeats ? " ..." : "");
  }
  return text;
}

std::string options_of(const Command& command) {
  std::string text;
  for (const CommandOption& option : command.options) {
    text += fmt::format(".TP\n{}\n{}", heading(option), roff(option.help));
    if (!option.default_value.empty()) text += fmt::format(" (default: {})", roff(option.default_value));
    text += option.required ? " (required)\n" : "\n";
  }
  return text;
}

/// A verb, without what CLI11 hands down to it from the program: --help and, if it has none of its own, the footer.
std::string section(const Command& program, const Command& verb) {
  Command command = verb;
  std::erase_if(command.options, [](const CommandOption& option) { return std::ranges::count(option.names, "--help") > 0; });
  std::string text = fmt::format(".SS dmoerm {}\n{}\n", roff(command.words), roff(command.help));
  text += options_of(command);
  if (command.footer != program.footer) text += fmt::format(".PP\n.nf\n{}\n.fi\n", roff(command.footer));
  return text;
}

constexpr const char* kExitStatus = R"(.SH EXIT STATUS
.TP
0
Done.
.TP
2
The input, the configuration or the command line was refused, or a task failed.
.TP
3
The run was stopped and has saved what it had; the same command continues it.
.PP
Any other: a rank was lost, or the program itself is at fault.
)";

constexpr const char* kEnvironment = R"(.SH ENVIRONMENT
.TP
DMOERM_ROOT
The folder that has configs/ and launch/. Without it, an installed program uses share/dmoerm of its prefix.
.TP
DMOERM_JUDGE_DIR
The folder of the judge templates. Without it, configs/judge in that folder.
)";

}  // namespace

std::string man_page(const Command& program, const std::string& version) {
  std::string text = fmt::format(".TH DMOERM 1 \"\" \"{}\" \"User Commands\"\n", roff(version));
  text += ".SH NAME\ndmoerm \\- double\\-layer mixture\\-of\\-experts reward models\n";
  text += ".SH SYNOPSIS\n\\fBdmoerm\\fR \\fIVERB\\fR [\\fIOPTIONS\\fR]\n";
  text += fmt::format(".SH DESCRIPTION\n{}\n.PP\n{}\n", roff(program.help), roff(program.footer));
  text += ".SH OPTIONS\n" + options_of(program) + ".SH VERBS\n";
  for (const Command* command : all_commands(program)) {
    if (command != &program) text += section(program, *command);
  }
  return text + kExitStatus + kEnvironment;
}

void add_man(CLI::App& app) {
  app.add_subcommand("man", "Print the manual page (roff)")->footer(example("man | man -l -"))->callback([&app] {
    fmt::print("{}", man_page(command_tree(app), fmt::format("dmoerm {}", version())));
  });
}

}  // namespace dmoerm::cli
