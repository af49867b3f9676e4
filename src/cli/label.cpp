// dmoerm label: asks judges about the pairs of a configuration.
#include <fmt/format.h>
#include <unistd.h>

#include <memory>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "base/stop.h"
#include "cli/verbs.h"
#include "config/reader.h"
#include "label/run_limits.h"
#include "run/slurm_script.h"
#include "run/stage_label.h"

namespace dmoerm::cli {
namespace {

struct Options {
  std::string config, store;
  std::vector<std::string> overrides, points;
  bool dry_run = false, update = false;
  std::int64_t audit = 0;  // pairs
  label::RunLimits limits;
};

int run(const Options& options) {
  init_log(0, 1, "warn");
  config::RunConfig config = config::read_run_config(options.config, options.overrides);
  if (!options.store.empty()) config.labels.store = options.store;
  const label::SpendLimits limits = label::spend_limits(options.limits, config.labels);
  init_log(0, 1, config::word(config.log_level));
  catch_stop_signals();
  const run::RunDirectory directory(std::filesystem::path(config.runs_dir) / config.name);
  run::LabelStage stage(config, directory, options.points);
  if (options.dry_run) {
    fmt::print("{}", options.audit > 0 ? stage.audit_estimate(options.audit) : stage.estimate());
    return 0;
  }
  if (options.audit == 0) stage.expect_same_settings(options.update);
  run::LabelStage::Run how;
  how.limits = limits;
  how.terminal = ::isatty(STDERR_FILENO) == 1;
  how.stop = stop_requested;
  const label::LabellingEnd end = options.audit > 0 ? stage.audit(options.audit, how) : stage.run(how);
  fmt::print("{}\nlabel store: {}\n{}: {}\n", read_file(directory.task("label") / (options.audit > 0 ? "audit.md" : "report.md")),
             run::label_store_path(config).string(), options.audit > 0 ? "this page and audit.json" : "verdicts and this page",
             directory.task("label").string());
  if (end.why == label::LabellingEnd::Why::complete) {
    if (config.labels.rounds > 1 && options.audit == 0)
      fmt::print("This was the first of {} rounds; `launch/dmoerm run --config {}` trains experts and does the others.\n",
                 config.labels.rounds, run::shell_quoted(options.config));
    else if (options.audit == 0)
      fmt::print("next: launch/dmoerm run --config {}\n", run::shell_quoted(options.config));
    return 0;
  }
  const std::string said = fmt::format("labelling ended early: {}; all answers so far are stored{}", end.message,
                                       end.exit_code() == 3 ? "; run the same command again to continue" : "");
  fmt::print(stderr, "dmoerm: {}\n", with_code(said, end.code()));
  return end.exit_code();
}

}  // namespace

void add_label(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* verb = app.add_subcommand(
      "label", "Ask LLM judges about the pairs of a configuration, in both orders; a stored answer is never paid for again");
  verb->footer(example("label --config my.yaml --dry-run"));
  verb->add_option("--config", options->config, "YAML configuration of a run, with `labels.judges`")
      ->type_name(kFile)
      ->required();
  verb->add_option("--set", options->overrides, "Override a key: --set labels.samples=2");
  verb->add_option("--points", options->points, "Label only these points: category/point, or a category for all of its points");
  verb->add_option("--store", options->store, "Label store to use instead of the configuration's")->type_name(kFolder);
  verb->add_flag("--dry-run", options->dry_run,
                 "Print how many requests and tokens each point needs and what they cost at most; send nothing");
  verb->add_flag("--update", options->update,
                 "Replace the verdicts that a trained run was made from, if settings or data have changed, instead of refusing");
  verb->add_option("--audit", options->audit,
                   "Ask about this many pairs that the data's human labels order, and show how far each judge agrees with them")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1'000'000}))
      ->type_name("PAIRS");
  verb->add_option("--cost-max", options->limits.cost_max, "Largest amount that this run may cost, in labels.currency");
  verb->add_option("--requests-max", options->limits.requests_max,
                   "Largest number of requests that this run may send, repeated ones too (not those refused with 429 or 503)");
  verb->add_option("--tokens-max", options->limits.tokens_max,
                   "Largest number of tokens that this run may use, prompts and answers together");
  verb->callback([options] {
    if (const int code = run(*options); code != 0) throw CLI::RuntimeError(code);
  });
}

}  // namespace dmoerm::cli
