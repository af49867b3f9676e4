// `dmoerm clean`: frees disk space in a run's directory.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "base/log.h"
#include "cli/verbs.h"
#include "run/clean_run.h"

namespace dmoerm::cli {
namespace {

struct Options {
  std::string run;
  bool dry_run = false;
};

void clean(const Options& options) {
  constexpr double kMib = 1024.0 * 1024.0;
  double mib = 0;
  for (const run::Removable& one : run::clean_run(options.run, options.dry_run)) {
    fmt::print("{:10.2f} MiB  {}  ({})\n", static_cast<double>(one.bytes) / kMib, one.path.string(), one.why);
    mib += static_cast<double>(one.bytes) / kMib;
  }
  fmt::print("{:10.2f} MiB  {}\n", mib, options.dry_run ? "would be freed" : "freed");
}

}  // namespace

void add_clean(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* verb = app.add_subcommand(
      "clean",
      "Free disk space in a run's directory: checkpoints of finished tasks, temporary files, hashes; labels, results and "
      "the bundle stay");
  verb->footer(example("clean runs/quickstart --dry-run"));
  verb->add_option("run", options->run, "Directory of the run")->type_name(kFolder)->required();
  verb->add_flag("--dry-run", options->dry_run, "Only list what would be removed, with its size");
  verb->callback([options] {
    init_log(0, 1, "warn");
    clean(*options);
  });
}

}  // namespace dmoerm::cli
