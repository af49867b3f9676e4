// dmoerm compare: several runs side by side.
#include <fmt/format.h>

#include "base/files.h"
#include "base/log.h"
#include "base/progress.h"
#include "cli/output_file.h"
#include "cli/verbs.h"
#include "report/comparison.h"
#include "watch/terminal.h"

namespace dmoerm::cli {
namespace {

struct Options {
  std::vector<std::string> runs;
  std::string out;
};

void run(const Options& options) {
  init_log(0, 1, "warn");
  if (!options.out.empty()) expect_output_file("--out", options.out, ".html");
  Progress progress("runs", watch::stderr_is_terminal());
  const report::Comparison comparison =
      report::compare_runs(options.runs, [&](std::int64_t done, std::int64_t all) { progress.show("", done, all); });
  progress.clear();
  fmt::print("{}", report::comparison_text(comparison));
  if (options.out.empty()) return;
  write_file_atomically(options.out, report::comparison_page(comparison));
  fmt::print("\nwritten: {}  (open it in a browser)\n", options.out);
}

}  // namespace

void add_compare(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* verb = app.add_subcommand(
      "compare",
      "Show runs side by side: accuracy on their test prompts, paired differences to the first run, cost, settings that differ");
  verb->footer(example("compare runs/a runs/b --out compared.html"));
  verb->add_option("runs", options->runs, "Directories of runs")->type_name(kFolder)->required();
  verb->add_option("--out", options->out, "HTML file to write as well")->type_name(kFile);
  verb->callback([options] { run(*options); });
}

}  // namespace dmoerm::cli
