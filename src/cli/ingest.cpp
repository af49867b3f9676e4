// dmoerm ingest: preference files to a token store.
#include "data/ingest.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <filesystem>

#include "base/error.h"
#include "base/log.h"
#include "base/progress.h"
#include "base/stop.h"
#include "cli/verbs.h"
#include "config/reader.h"
#include "data/token_store_hdf5.h"
#include "preference/formats.h"
#include "run/slurm_script.h"
#include "watch/terminal.h"

namespace dmoerm::cli {
namespace {

struct Options {
  std::string config, out;
  std::vector<std::string> overrides, files;
  config::RunConfig run;
  bool list_formats = false, old_name = false;
};

/// Check that the output replaces neither an input nor a file that is not a token store.
void check_output(const std::filesystem::path& output, const std::vector<config::InputConfig>& inputs) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  for (const config::InputConfig& input : inputs) {
    for (const char* beside : {"", ".dropped.jsonl", ".report.json"}) {
      if (fs::equivalent(input.path, output.string() + beside, ignored))
        throw ConfigError("output-is-an-input", fmt::format("--out {}: this would overwrite the input {}: name another output",
                                                            output.string(), input.path));
    }
  }
  if (!fs::is_regular_file(output, ignored) || fs::file_size(output, ignored) == 0) return;
  if (!begins_with_seal(output, data::kTokenStoreSeal))
    throw ConfigError(
        "output-is-another-file",
        fmt::format("--out {}: exists and is not a token store: name another output, or remove it", output.string()));
}

void run(Options& options) {
  if (options.old_name) throw ConfigError("renamed-option", "--forms is now --formats");
  if (options.list_formats) {
    for (const preference::Format& format : preference::formats()) fmt::print("{:<24} {}\n", format.name, format.example);
    return;
  }
  init_log(0, 1, "warn");
  catch_stop_signals();
  if (options.out.empty()) throw ConfigError("no-output-given", "--out FILE is needed: where to write the token store");
  if (!options.config.empty()) {
    options.run = config::read_run_config(options.config, options.overrides);
  } else {
    if (options.files.empty() || options.run.backbone.dir.empty())
      throw ConfigError("no-input-given", "give --config FILE, or input files and --model DIR");
    for (const std::string& file : options.files)
      options.run.data.inputs.push_back({file, "auto", "", config::InputSplit::own, 1.0});
  }
  check_output(options.out, options.run.data.inputs);
  const auto tokenizer = tokenizer::Tokenizer::load(std::filesystem::path(options.run.backbone.dir) / "tokenizer.json");
  const tokenizer::ChatTemplate chat_template(options.run.backbone.chat_template, tokenizer,
                                              options.run.data.special_tokens_in_text);
  Progress progress("groups", watch::stderr_is_terminal());
  const data::IngestReport report =
      data::ingest_for_run(options.run, tokenizer, chat_template, options.out,
                           [&](const std::string& what, std::int64_t done, std::int64_t all) { progress.show(what, done, all); });
  progress.clear();
  fmt::print("{}\ntoken store: {}\n", data::to_text(report), options.out);
  if (!options.config.empty()) fmt::print("next: launch/dmoerm run --config {}\n", run::shell_quoted(options.config));
}

}  // namespace

void add_ingest(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* verb = app.add_subcommand("ingest", "Read preference files into one token store (HDF5)");
  verb->footer(example("ingest pairs.jsonl.gz --model DIR --template chatml --out store.h5"));
  CLI::Option* config = verb->add_option("--config", options->config, "YAML configuration of a run")->type_name(kFile);
  verb->add_option("--set", options->overrides, "Override a key: --set data.max_length=2048")->needs(config);
  verb->add_option("--out", options->out, "Token store to write")->type_name(kFile);
  verb->add_option("files", options->files, "JSONL files, plain, .gz or .zst")->type_name(kFile)->excludes(config);
  verb->add_option("--model", options->run.backbone.dir, "Hugging Face directory with tokenizer.json")
      ->type_name(kFolder)
      ->excludes(config);
  verb->add_option("--template", options->run.backbone.chat_template,
                   "Chat template: chatml, llama3, mistral, plain, dmoerm, or a JSON file that launch/pin_chat_template.py made")
      ->excludes(config)
      ->capture_default_str();
  verb->add_option("--max-length", options->run.data.max_length,
                   "Largest number of tokens of a prompt with one response; longer texts are cut")
      ->excludes(config)
      ->check(kPositive)
      ->capture_default_str();
  verb->add_option("--bad-lines", options->run.data.bad_lines_max,
                   "Number of bad lines that are left out; one more ends the program")
      ->excludes(config)
      ->check(kNonNegative)
      ->capture_default_str();
  verb->add_flag("--formats", options->list_formats, "List the data formats, each with an example row");
  verb->add_flag("--forms", options->old_name)->group("");  // the option's name before 0.1; hidden from the help
  verb->callback([options] { run(*options); });
}

}  // namespace dmoerm::cli
