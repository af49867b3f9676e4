// dmoerm completion: scripts for the shells that complete what is typed after `dmoerm`.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "cli/command_tree.h"
#include "cli/verbs.h"

namespace dmoerm::cli {
namespace {

constexpr const char* kBashHead = R"(# Completes dmoerm in bash; written by `dmoerm completion bash`.
_dmoerm() {
  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} verb='' words='' files=no i
  if [ "$word" = = ]; then
    word=''
  elif [ "$before" = = ]; then # --option=value is three words
    before=${COMP_WORDS[COMP_CWORD-2]}
  fi
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "$verb/${COMP_WORDS[i]}" in
)";

// zsh runs the same function, but has no compopt.
constexpr const char* kBashTail = R"(  esac
  COMPREPLY=($(compgen -W "$words" -- "$word"))
  if [ "$files" = yes ]; then
    if type compopt >/dev/null 2>&1; then
      compopt -o default
    else
      COMPREPLY+=($(compgen -f -- "$word"))
    fi
  fi
}
complete -F _dmoerm dmoerm
)";

std::vector<std::string> words_after(const Command& command) {
  std::vector<std::string> words;
  for (const Command& sub : command.commands) words.push_back(sub.words.substr(sub.words.rfind(' ') + 1));
  for (const CommandOption& option : command.options) {
    for (const std::string& name : option.names) words.push_back(name);
    if (option.names.empty()) words.insert(words.end(), option.choices.begin(), option.choices.end());
  }
  return words;
}

bool takes_paths(const Command& command) {
  return std::ranges::any_of(command.options, [](const auto& option) { return option.names.empty() && option.takes_path(); });
}

std::string bash_script(const Command& program) {
  const std::vector<const Command*> commands = all_commands(program);
  std::string text = kBashHead;
  for (const Command* command : commands) {
    for (const Command& sub : command->commands) {
      const std::string last = sub.words.substr(sub.words.rfind(' ') + 1);
      text += fmt::format("      \"{}/{}\") verb=\"{}\" ;;\n", command->words, last, sub.words);
    }
  }
  text += "    esac\n  done\n  case \"$verb/$before\" in\n";
  for (const Command* command : commands) {
    for (const CommandOption& option : command->options) {
      if (option.names.empty() || option.value.empty()) continue;
      for (const std::string& name : option.names)
        text += fmt::format("    \"{}/{}\") words=\"{}\" files={} ;;\n", command->words, name, fmt::join(option.choices, " "),
                            option.takes_path() ? "yes" : "no");
    }
  }
  text += "    *)\n      case \"$verb\" in\n";
  for (const Command* command : commands) {
    text += fmt::format("        \"{}\") words=\"{}\" files={} ;;\n", command->words, fmt::join(words_after(*command), " "),
                        takes_paths(*command) ? "yes" : "no");
  }
  return text + "      esac\n      ;;\n" + kBashTail;
}

std::string zsh_script(const Command& program) {
  return "# Completes dmoerm in zsh; written by `dmoerm completion zsh`.\nautoload -U +X bashcompinit && bashcompinit\n" +
         bash_script(program);
}

/// `text` as one word of fish, which knows two escapes between single quotes.
std::string fish_quoted(const std::string& text) {
  std::string quoted = "'";
  for (const char c : text) {
    if (c == '\'' || c == '\\') quoted += '\\';
    quoted += c == '\n' ? ' ' : c;
  }
  return quoted + "'";
}

/// The condition that the words typed so far lead to `command`.
std::string fish_condition(const Command& command) {
  std::string condition;
  for (const std::string& word : CLI::detail::split(command.words, ' ')) {
    if (!word.empty()) condition += fmt::format("{}__fish_seen_subcommand_from {}", condition.empty() ? "" : "; and ", word);
  }
  if (command.words.empty()) return "__fish_use_subcommand";
  std::string subs;
  for (const Command& sub : command.commands) subs += " " + sub.words.substr(sub.words.rfind(' ') + 1);
  return subs.empty() ? condition : fmt::format("{}; and not __fish_seen_subcommand_from{}", condition, subs);
}

std::string fish_script(const Command& program) {
  std::string text = "# Completes dmoerm in fish; written by `dmoerm completion fish`.\n";
  for (const Command* command : all_commands(program)) {
    const std::string head = fmt::format("complete -c dmoerm -n {}", fish_quoted(fish_condition(*command)));
    if (!takes_paths(*command)) text += head + " -f\n";
    for (const Command& sub : command->commands) {
      const std::string last = sub.words.substr(sub.words.rfind(' ') + 1);
      text += fmt::format("{} -a {} -d {}\n", head, last, fish_quoted(sub.help));
    }
    for (const CommandOption& option : command->options) {
      if (option.names.empty()) {
        if (!option.choices.empty())
          text += fmt::format("{} -a {}\n", head, fish_quoted(fmt::format("{}", fmt::join(option.choices, " "))));
        continue;
      }
      text += head;
      for (const std::string& name : option.names) {
        const bool is_long = name.starts_with("--");
        text += fmt::format(" {} {}", is_long ? "-l" : "-s", name.substr(is_long ? 2 : 1));
      }
      if (!option.value.empty()) text += option.takes_path() ? " -r -F" : " -x";
      if (!option.choices.empty()) text += " -a " + fish_quoted(fmt::format("{}", fmt::join(option.choices, " ")));
      text += fmt::format(" -d {}\n", fish_quoted(option.help));
    }
  }
  return text;
}

}  // namespace

std::string completion_script(const Command& program, const std::string& shell) {
  if (shell == "zsh") return zsh_script(program);
  return shell == "fish" ? fish_script(program) : bash_script(program);
}

void add_completion(CLI::App& app) {
  auto shell = std::make_shared<std::string>();
  CLI::App* verb = app.add_subcommand("completion", "Print a script that completes dmoerm's verbs, options and files in a shell");
  verb->footer("Example, for this shell alone: source <(launch/dmoerm completion bash)");
  verb->add_option("shell", *shell, "Shell that reads the script")->required()->check(CLI::IsMember({"bash", "zsh", "fish"}));
  verb->callback([shell, &app] { fmt::print("{}", completion_script(command_tree(app), *shell)); });
}

}  // namespace dmoerm::cli
