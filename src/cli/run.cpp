// dmoerm run: runs the whole pipeline, from preference data to a bundle, on one process or under mpirun / srun.
#include <fmt/format.h>

#include <cstdio>

#include "base/counted.h"
#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "base/stop.h"
#include "cli/verbs.h"
#include "run/slurm_script.h"
#include "run/start.h"

namespace dmoerm::cli {
namespace {

void show_result(const run::RunEnd& end) {
  const std::string bundle = end.bundle.string();
  const std::string text = fmt::format(
      "{}\nThe model: {}\nScore a response of your own:\n  launch/dmoerm score --bundle {} --prompt \"...\" --response \"...\"\n"
      "Look at the run as a page:\n  launch/dmoerm report {}\n",
      read_file(end.report), bundle, run::shell_quoted(bundle),
      run::shell_quoted(end.report.parent_path().parent_path().string()));
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
  if (std::ferror(stdout) != 0 && std::freopen("/dev/null", "w", stdout) == nullptr)
    spdlog::warn("[run] the report could not be shown");  // the terminal is gone; the report is on the disk
}

void show(const run::RunEnd& end) {
  const run::RunSummary& summary = end.summary;
  if (summary.complete()) return show_result(end);
  for (const auto& [task, message] : summary.failed) fmt::print(stderr, "dmoerm: failed: {}: {}\n", task, message);
  if (summary.stopped) {
    const bool by_signal = stop_requested() || end.label_end.message.empty();
    const std::string said =
        fmt::format("{}; {} left: run the same command again to continue",
                    by_signal ? fmt::format("stopped by {}", stop_signal()) : "labelling ended early: " + end.label_end.message,
                    counted(std::ssize(summary.skipped), "task is", "tasks are"));
    fmt::print(stderr, "dmoerm: {}\n", with_code(said, by_signal ? ErrorCode("stopped-on-request") : end.label_end.code()));
    return;
  }
  for (const std::string& task : summary.skipped)
    fmt::print(stderr, "dmoerm: not started, because a task it needs failed: {}\n", task);
}

int run(const run::RunRequest& request) {
  try {
    return run::run_all(request, show);
  } catch (const run::ReportedByOther& e) {
    return e.exit_code();
  }
}

}  // namespace

void add_run(CLI::App& app) {
  auto request = std::make_shared<run::RunRequest>();
  CLI::App* verb = app.add_subcommand(
      "run",
      "Train a reward model on preference data: ingest, train router, bases, experts and aggregators, evaluate, and write the "
      "bundle; the same command continues a run that was stopped");
  verb->footer(example("--np 2 run --config configs/quickstart.yaml --set base.lr=1e-4"));
  verb->add_option("--config", request->config_file, "YAML configuration of the run")->type_name(kFile)->required();
  verb->add_option("--set", request->overrides, "Override a key: --set experts.train.lr=1e-4");
  verb->add_flag("--update", request->update,
                 "Redo the tasks whose settings or inputs changed, instead of refusing the run directory");
  verb->callback([request] {
    if (const int code = run(*request); code != 0) throw CLI::RuntimeError(code);
  });
}

}  // namespace dmoerm::cli
