// dmoerm inspect config: prints the configuration as a run would see it.
#include <fmt/format.h>

#include <cstdio>
#include <memory>

#include "base/error.h"
#include "base/log.h"
#include "cli/verbs.h"
#include "config/reader.h"
#include "config/writer.h"

namespace dmoerm::cli {

void add_inspect_config(CLI::App& inspect) {
  struct Options {
    std::string file;
    std::vector<std::string> overrides;
    bool reference = false;
  };
  auto options = std::make_shared<Options>();
  CLI::App* verb = inspect.add_subcommand(
      "config", "Print a configuration after defaults, environment and overrides, or the reference of all keys");
  verb->add_option("--config", options->file, "YAML configuration")->type_name(kFile);
  verb->add_option("--set", options->overrides,
                   "Override a key: base.lr=1e-5, data.inputs.0.path=x.jsonl, categories.1.points=[a,b]")
      ->take_all()
      ->expected(1, -1)
      ->type_name("KEY=VALUE");
  verb->add_flag("--reference", options->reference,
                 "Print every key with its type, default, range, meaning and what it affects, as Markdown");
  verb->footer(example("inspect config --config configs/quickstart.yaml --set base.lr=2e-5"));
  verb->callback([options] {
    if (options->reference) {
      fmt::print("{}", config::reference());
    } else if (options->file.empty()) {
      throw ConfigError("no-configuration-given", "inspect config: give --config FILE, or --reference");
    } else {
      init_log(0, 1, "warn");
      fmt::print("{}", config::to_yaml(config::read_run_config(options->file, options->overrides)));
    }
  });
}

}  // namespace dmoerm::cli
