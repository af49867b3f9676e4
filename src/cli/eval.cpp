// dmoerm eval: how good models are on given data.
#include <fmt/format.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "base/stop.h"
#include "cli/scored_models.h"
#include "cli/trained_prompts.h"
#include "cli/verbs.h"
#include "eval/benchmarks.h"
#include "eval/evaluation.h"
#include "eval/plots.h"
#include "eval/read_data.h"
#include "eval/report_text.h"
#include "run/slurm_script.h"

namespace dmoerm::cli {
namespace {

using nlohmann::json;

struct Options {
  ModelOptions models;
  std::vector<std::string> data, files;
  std::string benchmark, out;
  eval::DataOptions reading;
  eval::EvalOptions evaluation;
};

void write_all(const std::filesystem::path& out, const json& result, const std::string& text) {
  std::filesystem::create_directories(out);
  for (const auto& [name, svg] : eval::plots_of(result)) write_file_atomically(out / name, svg);
  write_file_atomically(out / "eval.md", text);
  write_file_atomically(out / "eval.json", with_rows(result, "groups"));
}

void run(const Options& options) {
  init_log(0, 1, "warn");
  catch_stop_signals();
  const std::vector<std::string> files = input_files(options.data, options.files);
  const std::vector<eval::ModelSpec> models = models_of(options.models);
  if (!options.out.empty()) expect_folder(options.out);
  const eval::Data data = options.benchmark.empty() ? eval::read_data(files, options.reading)
                                                    : eval::read_benchmark(eval::benchmark_named(options.benchmark), files);
  warn_of_trained_prompts(models, data);
  const std::vector<eval::ModelScores> scores = score(models, data, options.models);
  const json result = eval::evaluate({data, scores, options.evaluation});
  const std::string text = eval::report_text(result);
  if (!options.out.empty()) write_all(options.out, result, text);
  fmt::print("{}", text);
  if (!options.out.empty())
    fmt::print("\nwritten: {}\nnext: launch/dmoerm report RUN --eval {} shows it in the report of a run\n",
               (std::filesystem::path(options.out) / "eval.json").string(), run::shell_quoted(options.out));
}

}  // namespace

void add_eval(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* verb = app.add_subcommand(
      "eval", "Measure how often models order responses correctly on data and benchmarks: tables, intervals, tests, plots");
  verb->footer(example("eval --model A=runs/a/bundle --model B=runs/b/bundle --data pairs.jsonl --out compared"));
  add_model_options(*verb, options->models);
  verb->add_option("--data", options->data,
                   "File of preference data in any format that `dmoerm ingest --formats` lists; may be repeated")
      ->type_name(kFile)
      ->allow_extra_args(false);
  verb->add_option("files", options->files, "Further files")->type_name(kFile);
  CLI::Option* benchmark = verb->add_option(
      "--benchmark", options->benchmark,
      "Benchmark whose schema the files have: rewardbench, rewardbench-2, rm-bench, llmbar, judgebench, pandalm, contrast");
  verb->add_option("--out", options->out, "Folder for eval.json (with the result of every group), eval.md and the plots")
      ->type_name(kFolder);
  verb->add_option("--format", options->reading.format, "Data format of the files")->capture_default_str()->excludes(benchmark);
  verb->add_option("--split", options->reading.split,
                   "Split to evaluate: train, validation, test or all; default: test if a row names it, else all")
      ->check(CLI::IsMember({"train", "validation", "test", "all"}))
      ->excludes(benchmark);
  verb->add_option("--category", options->reading.category, "Category of rows that name none")->excludes(benchmark);
  verb->add_option("--cluster", options->reading.cluster,
                   "Key of the rows by which they are clustered, such as a document; default: the first turn of the conversation")
      ->excludes(benchmark);
  verb->add_option("--score-gap", options->reading.score_gap_min,
                   "Smallest gap between two scores of the data that counts as a preference")
      ->check(kNonNegative)
      ->excludes(benchmark);
  verb->add_option("--bad-lines", options->reading.bad_lines_max,
                   "Number of malformed lines that are left out; one more ends the program")
      ->check(kNonNegative)
      ->excludes(benchmark);
  verb->add_option("--margin", options->evaluation.margin, "Difference of accuracies below which two models count as level")
      ->check(number_in(0.0, 1.0))
      ->capture_default_str();
  verb->add_option("--resamples", options->evaluation.resamples, "Number of bootstrap resamples")
      ->check(CLI::Range(100, 1000000))
      ->capture_default_str();
  verb->add_option("--seed", options->evaluation.seed, "Seed of the bootstrap")->capture_default_str();
  verb->callback([options] { run(*options); });
}

}  // namespace dmoerm::cli
