// dmoerm report: a run as a page, and a model card.
#include <fmt/format.h>

#include <filesystem>
#include <string>

#include "base/counted.h"
#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "base/progress.h"
#include "cli/output_file.h"
#include "cli/verbs.h"
#include "report/accuracies.h"
#include "report/mlflow_store.h"
#include "report/model_card.h"
#include "report/report_page.h"
#include "report/wandb_log.h"
#include "run/slurm_script.h"
#include "watch/terminal.h"

namespace dmoerm::cli {
namespace {

struct Options {
  std::string run, out, card, mlflow, wandb;
  std::vector<std::string> evaluated;
  report::CardOptions of_card;
  bool no_script = false;
};

/// The card has the page's name, so that the reports of several runs can lie in one folder.
std::filesystem::path card_of(const Options& options, const std::filesystem::path& page) {
  if (!options.card.empty()) return options.card;
  if (options.out.empty()) return page.parent_path() / "MODEL_CARD.md";
  return page.parent_path() / (page.stem().string() + "-MODEL_CARD.md");
}

void run(const Options& options) {
  init_log(0, 1, "warn");
  const report::Run run = report::read_run(options.run);
  const std::filesystem::path folder = std::filesystem::path(options.run) / "report";
  const std::filesystem::path page = options.out.empty() ? folder / "report.html" : std::filesystem::path(options.out);
  const std::filesystem::path card = card_of(options, page);
  expect_output_file("--out", page, ".html");
  expect_output_file("--card", card, ".md");
  if (std::filesystem::weakly_canonical(page) == std::filesystem::weakly_canonical(card))
    throw ConfigError("output-is-another-file", fmt::format("--out and --card are both {}: name two files", page.string()));
  if (options.out.empty()) std::filesystem::create_directories(folder);
  const std::string library = options.no_script ? "" : report::chart_library();
  std::vector<report::Evaluated> evaluated;
  for (const std::string& name : options.evaluated) {
    const std::filesystem::path file = std::filesystem::path(name) / "eval.json";
    if (!std::filesystem::exists(file))
      throw ConfigError("no-evaluation",
                        fmt::format("--eval {}: there is no eval.json in this folder: `dmoerm eval --out {}` writes one", name,
                                    run::shell_quoted(name)));
    evaluated.push_back({name, report::read_part(file, "")});
  }
  Progress progress("sections", watch::stderr_is_terminal());
  const auto show = [&](std::int64_t done, std::int64_t all) { progress.show("", done, all); };
  write_file_atomically(page, report::report_page(run, evaluated, library, show));
  progress.clear();
  write_file_atomically(card, report::model_card(run, options.of_card));
  const std::size_t in_mlflow = options.mlflow.empty() ? 0 : report::write_mlflow(run, options.mlflow);
  const std::size_t in_wandb = options.wandb.empty() ? 0 : report::write_wandb(run, options.wandb);
  const report::Headline headline = report::headline_of(run, report::accuracies_of(run));
  fmt::print("{}\n", headline.sentence);
  for (const std::string& sentence : headline.further) fmt::print("{}\n", sentence);
  if (library.empty() && !options.no_script)
    fmt::print("The chart library is not installed (launch/setup.sh): the curves are drawn without zoom.\n");
  fmt::print("\nreport: {}  (open it in a browser)\nmodel card: {}\n", page.string(), card.string());
  if (!options.wandb.empty())
    fmt::print("W&B: {} written; wandb sync {}/offline-run-* sends them\n",
               counted(static_cast<std::int64_t>(in_wandb), "offline run"), run::shell_quoted(options.wandb));
  if (!options.mlflow.empty())
    fmt::print("MLflow: {} written; MLFLOW_ALLOW_FILE_STORE=true mlflow ui --backend-store-uri {} shows them\n",
               counted(static_cast<std::int64_t>(in_mlflow), "run"), options.mlflow);
}

}  // namespace

void add_report(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* verb = app.add_subcommand(
      "report", "Write the report of a run, finished or not, as one HTML file that needs no network, and a model card");
  verb->footer(example("report runs/quickstart"));
  verb->add_option("run", options->run, "Directory of the run")->type_name(kFolder)->required();
  verb->add_option("--out", options->out, "HTML file to write (default: report/report.html in the run)")->type_name(kFile);
  verb->add_option("--card", options->card,
                   "Model card to write (default: report/MODEL_CARD.md in the run; with --out X.html, X-MODEL_CARD.md)")
      ->type_name(kFile);
  verb->add_option("--eval", options->evaluated, "Folder that `dmoerm eval --out` wrote, to be shown too; may be repeated")
      ->type_name(kFolder)
      ->allow_extra_args(false);
  verb->add_option("--mlflow", options->mlflow,
                   "Folder of an MLflow file store to which the run's curves and accuracies are added")
      ->type_name(kFolder);
  verb->add_option("--wandb", options->wandb, "Folder for an offline run of Weights & Biases for each training, usually wandb")
      ->type_name(kFolder);
  verb->add_option("--license", options->of_card.license, "Licence that the card names, as the Hugging Face Hub spells it")
      ->capture_default_str();
  verb->add_option("--base-model", options->of_card.base_model,
                   "Backbone that the card names, owner/name (default: as the backbone's config.json says)");
  verb->add_flag("--no-script", options->no_script,
                 "Leave the chart library out: the file is smaller, and the curves do not zoom");
  verb->callback([options] { run(*options); });
}

}  // namespace dmoerm::cli
