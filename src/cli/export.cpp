// dmoerm export: the models of a bundle for transformers, PEFT and vLLM.
#include <fmt/format.h>

#include <filesystem>

#include "base/log.h"
#include "base/progress.h"
#include "base/stop.h"
#include "cli/verbs.h"
#include "hf/compress_bundle.h"
#include "hf/export_bundle.h"
#include "watch/terminal.h"

namespace dmoerm::cli {
namespace {

struct Options {
  std::string bundle, out, format = "peft", compress;
  std::vector<std::string> experts;
  hf::CardFacts facts;
};

void compress(const Options& options) {
  constexpr double kMib = 1024.0 * 1024.0;
  Progress progress("steps", watch::stderr_is_terminal());
  const hf::Compressed done = hf::compress_bundle(options.bundle, options.out,
                                                  [&](std::int64_t steps, std::int64_t all) { progress.show("", steps, all); });
  progress.clear();
  fmt::print(
      "compressed: {} backbones in {}; {:.1f} MiB instead of {:.1f} MiB; golden scores differ by up to {:.2g}. Compare both "
      "with `dmoerm eval` before you use it\n",
      done.backbones.size(), options.out, static_cast<double>(done.bytes_after) / kMib,
      static_cast<double>(done.bytes_before) / kMib, done.score_difference_max);
}

void run(const Options& options) {
  init_log(0, 1, "warn");
  catch_stop_signals();
  if (!options.compress.empty()) return compress(options);
  const std::filesystem::path out = options.out;
  const hf::Layout layout = options.format == "peft"     ? hf::Layout::peft
                            : options.format == "merged" ? hf::Layout::merged
                                                         : hf::Layout::vllm;
  Progress progress("models", watch::stderr_is_terminal());
  progress.show("", 0, 0);  // begins the clock
  const std::vector<hf::Exported> exported =
      hf::export_bundle({options.bundle, out, layout, options.experts, options.facts}, [&](std::size_t done, std::size_t all) {
        progress.show("", static_cast<std::int64_t>(done), static_cast<std::int64_t>(all));
      });
  progress.clear();
  for (const hf::Exported& one : exported) fmt::print("{:30}  {}\n", one.name, (out / one.directory).string());
  fmt::print("exported: {} {}, each read again and compared with its expert; {} says how to load {}\n", exported.size(),
             exported.size() == 1 ? "model" : "models", (out / "README.md").string(), exported.size() == 1 ? "it" : "them");
}

}  // namespace

void add_export(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* verb = app.add_subcommand("export",
                                      "Write the models of a bundle for transformers with PEFT, or as whole models for "
                                      "transformers and vLLM");
  verb->footer(example("export --bundle runs/quickstart/bundle --out exported"));
  verb->add_option("--bundle", options->bundle, "Directory of the bundle")->type_name(kFolder)->required();
  verb->add_option("--out", options->out, "Folder to write, which must be empty or absent")->type_name(kFolder)->required();
  CLI::Option* format =
      verb->add_option(
              "--format", options->format,
              "Layout: peft (one base and an adapter for each model), merged (whole models with their adapters folded in), or "
              "vllm (the same, with a model card for vLLM)")
          ->check(CLI::IsMember({"peft", "merged", "vllm"}))
          ->capture_default_str();
  CLI::Option* expert =
      verb->add_option(
              "--expert", options->experts,
              "Model to export: CATEGORY/POINT, CATEGORY for its overall model, or single; may be repeated; default: all")
          ->allow_extra_args(false);
  CLI::Option* license =
      verb->add_option("--license", options->facts.license, "Licence that the cards name, as the Hugging Face Hub spells it");
  CLI::Option* base_model =
      verb->add_option("--base-model", options->facts.base_model,
                       "Name of the pretrained model on the Hub, as OWNER/NAME; default: as config.json says");
  verb->add_option(
          "--compress", options->compress,
          "Write a smaller bundle instead: emr (backbones that were trained whole become masks over one vector of changes; "
          "scores change a little)")
      ->check(CLI::IsMember({"emr"}))
      ->excludes(format)
      ->excludes(expert)
      ->excludes(license)
      ->excludes(base_model);
  verb->callback([options] { run(*options); });
}

}  // namespace dmoerm::cli
