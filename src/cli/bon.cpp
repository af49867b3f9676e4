// dmoerm bon: what the best of n responses is worth.
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
#include "eval/bon_figures.h"
#include "eval/read_lists.h"

namespace dmoerm::cli {
namespace {

using nlohmann::json;

struct Options {
  ModelOptions models;
  std::vector<std::string> data, files;
  std::string gold = "overall", split, out;
  std::int64_t n_max = 0;
  eval::EvalOptions evaluation;
};

/// The keys of the rows that models read.
std::vector<std::string> fields_of(const std::vector<eval::ModelSpec>& models) {
  std::vector<std::string> fields;
  for (const eval::ModelSpec& model : models) {
    if (model.what.starts_with(eval::kFieldScores)) fields.push_back(model.what.substr(eval::kFieldScores.size()));
  }
  return fields;
}

void run(const Options& options) {
  init_log(0, 1, "warn");
  catch_stop_signals();
  const std::vector<std::string> files = input_files(options.data, options.files);
  const std::vector<eval::ModelSpec> models = models_of(options.models);
  if (!options.out.empty()) expect_folder(options.out);
  const eval::Data data = eval::read_lists(files, options.gold, options.n_max, options.split, fields_of(models));
  warn_of_trained_prompts(models, data);
  const std::vector<eval::ModelScores> scores = score(models, data, options.models);
  const json result = eval::bon_figures({data, scores, options.evaluation}, options.gold, options.n_max);
  const std::string text = eval::bon_text(result);
  if (!options.out.empty()) {
    const std::filesystem::path out(options.out);
    std::filesystem::create_directories(out);
    write_file_atomically(out / "bon.svg", eval::bon_plot(result));
    write_file_atomically(out / "bon.md", text);
    write_file_atomically(out / "bon.json", with_rows(result, "prompts"));
  }
  fmt::print("{}", text);
  if (!options.out.empty()) fmt::print("\nwritten: {}\n", (std::filesystem::path(options.out) / "bon.json").string());
}

}  // namespace

void add_bon(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* verb = app.add_subcommand(
      "bon", "Measure best-of-n: the gold score of the response that a model picks among n, for every n, with a plot");
  verb->footer(example("bon --bundle runs/quickstart/bundle --model length --data lists.jsonl --gold overall --out best-of-n"));
  add_model_options(*verb, options->models);
  verb->add_option("--data", options->data,
                   "File of lists: a data format with scores, or rows with answers (texts) and lists of scores; may be repeated")
      ->type_name(kFile)
      ->allow_extra_args(false);
  verb->add_option("files", options->files, "Further files")->type_name(kFile);
  verb->add_option("--gold", options->gold,
                   "Key of the gold scores: overall, a capability point, or a list of numbers in the row")
      ->capture_default_str();
  verb->add_option("--split", options->split,
                   "Split to measure: train, validation, test or all; default: test if a row names it, else all")
      ->check(CLI::IsMember({"train", "validation", "test", "all"}));
  verb->add_option("--n-max", options->n_max,
                   "Largest n; lists with fewer responses are left out; default: the size of the shortest list")
      ->check(kPositive);
  verb->add_option("--out", options->out, "Folder for bon.json (with the values of every list), bon.md and bon.svg")
      ->type_name(kFolder);
  verb->add_option("--resamples", options->evaluation.resamples, "Number of bootstrap resamples")
      ->check(CLI::Range(100, 1000000))
      ->capture_default_str();
  verb->add_option("--seed", options->evaluation.seed, "Seed of the bootstrap")->capture_default_str();
  verb->callback([options] { run(*options); });
}

}  // namespace dmoerm::cli
