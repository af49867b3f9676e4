// dmoerm inspect data: what preference files hold, and a configuration for them.
#include <fmt/format.h>

#include <filesystem>
#include <memory>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "base/progress.h"
#include "base/stop.h"
#include "cli/output_file.h"
#include "cli/verbs.h"
#include "data/data_summary.h"
#include "data/derived_config.h"
#include "run/slurm_script.h"
#include "watch/terminal.h"

namespace dmoerm::cli {
namespace {

struct Options {
  std::vector<std::string> files;
  std::string out;
  data::DerivedConfigSettings settings;
};

/// A configuration may have been edited, so none is replaced.
void expect_no_configuration(const std::string& out) {
  if (out.empty()) return;
  expect_output_file("--out", out, ".yaml");
  if (std::filesystem::exists(out))
    throw ConfigError("output-exists",
                      fmt::format("--out {}: exists already, and may have been edited: name another file, or remove it", out));
}

void run(const Options& options) {
  init_log(0, 1, "warn");
  catch_stop_signals();
  expect_no_configuration(options.out);
  Progress progress("groups", watch::stderr_is_terminal());
  data::IngestRequest request;
  for (const std::string& file : options.files) request.data.inputs.push_back({file, "auto", "", config::InputSplit::own, 1.0});
  request.data.bad_lines_max = options.settings.bad_lines_max;
  request.seed = options.settings.seed;
  request.progress = [&](const std::string& what, std::int64_t done, std::int64_t all) { progress.show(what, done, all); };
  const data::DataSummary summary = data::summarise(request);
  progress.clear();
  fmt::print("{}", data::to_text(summary, options.settings.labelled_min));
  if (options.out.empty()) return;
  write_file_atomically(options.out, data::derived_config(summary, options.settings));
  const std::string config = run::shell_quoted(options.out);
  fmt::print("configuration: {}\nnext: {} {}\n", options.out,
             options.settings.evidence ? "launch/evidence.sh --config" : "launch/dmoerm run --config", config);
}

}  // namespace

void add_inspect_data(CLI::App& inspect) {
  auto options = std::make_shared<Options>();
  CLI::App* verb = inspect.add_subcommand(
      "data", "Print what preference files hold: categories, points, labels, raters, splits, and what is odd");
  verb->footer(example("inspect data runs/quickstart-data/synth.jsonl --out my.yaml"));
  verb->add_option("files", options->files, "Preference files of any format, plain, .gz or .zst")->type_name(kFile)->required();
  CLI::Option* out =
      verb->add_option("--out", options->out,
                       "Write a configuration with these files, their categories and points, and for each label as score_gap_min "
                       "the smallest gap between two scores of a prompt that is at least half the standard deviation of the "
                       "scores within prompts, test prompts left out")
          ->type_name(kFile);
  verb->add_flag("--evidence", options->settings.evidence,
                 "Write it for launch/evidence.sh: with the label of one rater, first_rater, where the data have it")
      ->needs(out);
  verb->add_option("--labelled-min", options->settings.labelled_min,
                   "Prompts outside the test split with an ordered pair that a point needs; one with fewer is left out")
      ->check(kPositive)
      ->capture_default_str();
  verb->add_option("--bad-lines", options->settings.bad_lines_max,
                   "Number of bad lines that are left out; one more ends the program")
      ->check(kNonNegative)
      ->capture_default_str();
  verb->callback([options] { run(*options); });
}

}  // namespace dmoerm::cli
