// dmoerm status: shows what a run is doing, from another terminal or a login node.
#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/error.h"
#include "base/files.h"
#include "base/json_text.h"
#include "cli/verbs.h"
#include "report/run_directory.h"
#include "watch/screen_text.h"
#include "watch/status_file.h"
#include "watch/terminal.h"
#include "watch/timeline.h"

namespace dmoerm::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using watch::Life;

struct Options {
  std::string run;
  bool as_json = false, follow = false;
  double patience_s = 0;
};

struct Look {
  watch::RunState state;
  watch::Liveness liveness;
  std::string page;
  double now = 0;  ///< Unix time by the clock of the host that writes the status, as far as it is known
};

Look look(const Options& options) {
  const fs::path run = options.run;
  if (!fs::is_directory(run)) throw ConfigError("no-such-run", fmt::format("{}: there is no such run directory", run.string()));
  auto status = watch::read_status(run);
  const double patience = options.patience_s > 0 ? options.patience_s : 3 * (status ? status->every_s : 1) + 5;
  const std::optional<watch::Liveness> starting = watch::find_starting(run, status, patience);
  if (!starting && !status) status = watch::read_status(run);  // written while this looked
  if (!status) {
    if (!starting) report::expect_run_directory(run);
    Look found;
    found.state = watch::state_from_directory(run);
    if (found.state.tasks().empty() && !starting)
      throw ConfigError("not-a-run-directory",
                        fmt::format("{}: the run has not begun: it has neither status.json nor a task's manifest", run.string()));
    found.liveness = {Life::silent,
                      "there is no status.json: this is what the directory holds; whether a job is working on it is unknown"};
    if (starting) found.liveness = *starting;
    found.now = watch::wall_clock();
    return found;
  }
  Look found;
  found.liveness = starting ? *starting : watch::find_liveness(run, *status, patience);
  // A live writer's clock stood at `written_at` a moment ago, so ages are counted from there, not by this machine's clock.
  found.now = status->written_at;
  found.state = std::move(status->state);
  found.page = status->page;
  return found;
}

const char* word(Life life) {
  switch (life) {
    case Life::ended:
      return "ended";
    case Life::alive:
      return "alive";
    case Life::dead:
      return "dead";
    default:
      return "silent";
  }
}

void print(const Options& options, const Look& found, bool terminal) {
  std::string text;
  if (options.as_json) {
    json all = found.state.to_json();
    all["liveness"] = word(found.liveness.life), all["liveness_text"] = found.liveness.text, all["page"] = found.page;
    if (const double eta = found.state.run_eta(found.now); std::isfinite(eta)) all["eta_s"] = eta;
    if (found.state.lists_all_tasks()) all["done_share"] = found.state.done_share();
    text = json_line(all) + "\n";
  } else {
    const watch::TerminalSize size = watch::terminal_size(STDOUT_FILENO);
    watch::View view;
    view.width = terminal ? size.columns - 1 : 120;
    view.height = options.follow && terminal ? std::max(4, size.lines - 4) : 0;
    view.now = found.now;
    view.colour = terminal;
    text = found.liveness.text + "\n";
    if (!found.page.empty() && found.liveness.life == Life::alive) text += "page: " + found.page + "\n";
    for (const std::string& line : watch::screen_text(found.state, view)) text += line + "\n";
    if (options.follow && terminal) text = "\033[H\033[2J" + text;
  }
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

/// @return the exit code: 0 if alive, that of the run if it ended, 1 if dead or silent
int exit_code(const Look& found) {
  switch (found.liveness.life) {
    case Life::ended:
      return found.state.exit_code();
    case Life::alive:
      return 0;
    default:
      return 1;
  }
}

int status(const Options& options) {
  const bool terminal = ::isatty(STDOUT_FILENO) == 1;
  for (;;) {
    const Look found = look(options);
    print(options, found, terminal);
    if (!options.follow || found.liveness.life != Life::alive || std::ferror(stdout) != 0) return exit_code(found);
    std::this_thread::sleep_for(std::chrono::seconds(1));
  }
}

}  // namespace

void add_status(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* verb = app.add_subcommand("status", "Show what a run is doing, and whether its job is alive");
  verb->footer(
      example("status runs/quickstart --follow") +
      "\nExit code: 0 if the run is alive, its own code if it has ended, 1 if it is dead, or silent for longer than --patience");
  verb->add_option("run", options->run, "Directory of the run")->type_name(kFolder)->required();
  verb->add_flag("--json", options->as_json, "Print one JSON object instead of a table; with --follow, one per line");
  verb->add_flag("--follow", options->follow, "Show it again every second until the run ends");
  verb->add_option("--patience", options->patience_s,
                   "Seconds to wait for news from another host before the run counts as silent (default: 5 + 3 * watch.every_s)");
  verb->callback([options] {
    if (const int code = status(*options); code != 0) throw CLI::RuntimeError(code);
  });
}

}  // namespace dmoerm::cli
