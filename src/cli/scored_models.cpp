#include "cli/scored_models.h"

#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"
#include "base/json_text.h"
#include "base/progress.h"
#include "base/workers.h"
#include "cli/verbs.h"
#include "watch/terminal.h"

namespace dmoerm::cli {

void add_model_options(CLI::App& verb, ModelOptions& options) {
  verb.add_option(
          "--model", options.models,
          "Model as NAME=WHAT: a bundle's folder, a folder of one reward model or of one for each category, server:URL (a "
          "reward server, whose path names the protocol: none for dmoerm serve, /get_reward for OpenRLHF, /classify or "
          "/pooling for vLLM; #MODEL behind it names one of several; DMOERM_API_KEY is its key), scores:FILE (lines "
          "{\"id\", \"scores\"}), field:KEY (scores in the data), judge:CONFIG (the judges of a run's configuration, asked in "
          "both orders), length, or an ensemble of models named before it: mean(A,B), wco(A,B), uwo(A,B); may be repeated")
      ->allow_extra_args(false);
  verb.add_option("--bundle", options.bundles, "Folder of a bundle, which is called bundle in the tables")
      ->type_name(kFolder)
      ->allow_extra_args(false);
  verb.add_flag("--parts", options.scoring.parts,
                "Show a bundle's parts as models of their own: NAME:true-category, NAME:mean (of the experts), NAME:single");
  verb.add_flag("--ablations", options.scoring.ablations,
                "Show a bundle also without what one expert, or the base, adds to its rewards, as NAME:without-POINT and "
                "NAME:without-base; the other weights stay and are not fitted again");
  verb.add_option(
      "--template", options.scoring.chat_template,
      "Chat template of reward models that are not part of a bundle, and of servers that take texts: a name or a file");
  verb.add_option("--base", options.scoring.adapter_base,
                  "Folder of the model that a PEFT adapter adapts; default: the one that its adapter_config.json names")
      ->type_name(kFolder);
  verb.add_option("--max-length", options.scoring.max_length, "Longest text that such a model reads, in tokens")
      ->check(kPositive)
      ->capture_default_str();
  verb.add_option("--device", options.scoring.device, "Device to compute on: cpu, cuda, or auto (cuda if there is one)")
      ->check(CLI::IsMember({"cpu", "cuda", "auto"}))
      ->capture_default_str();
  verb.add_option(
          "--weights", options.weights,
          "Number type in which backbones' matrices are multiplied: float32; int8, which is faster and less exact; or both, "
          "which shows each bundle and reward model as NAME and as NAME:int8")
      ->check(CLI::IsMember({"float32", "int8", "both"}))
      ->capture_default_str();
  verb.add_option("--threads", options.threads, "Number of threads; 0 = one per core")
      ->check(kNonNegative)
      ->capture_default_str();
}

std::vector<std::string> input_files(std::vector<std::string> data, const std::vector<std::string>& files) {
  data.insert(data.end(), files.begin(), files.end());
  if (data.empty()) throw ConfigError("no-input-given", "give --data FILE, or files after the options");
  return data;
}

std::vector<eval::ModelSpec> models_of(const ModelOptions& options) {
  std::vector<eval::ModelSpec> models;
  for (std::size_t i = 0; i < options.bundles.size(); ++i) {
    models.push_back({i == 0 ? "bundle" : fmt::format("bundle-{}", i + 1), options.bundles[i]});
    if (options.bundles[i].empty()) throw ConfigError("bad-model-argument", "--bundle: expected a folder, found an empty name");
  }
  for (const std::string& text : options.models) models.push_back(eval::parse_model(text));
  if (models.empty()) throw ConfigError("no-model-given", "give --bundle DIR or --model NAME=WHAT");
  return models;
}

std::vector<eval::ModelScores> score(const std::vector<eval::ModelSpec>& models, const eval::Data& data,
                                     const ModelOptions& options) {
  at::set_num_threads(options.threads > 0 ? options.threads : processors());
  Progress progress("groups", watch::stderr_is_terminal());
  eval::ScoringOptions scoring = options.scoring;
  if (options.weights == "int8") scoring.weights = {nn::BaseWeights::int8};
  if (options.weights == "both") scoring.weights = {nn::BaseWeights::float32, nn::BaseWeights::int8};
  return eval::score_all(models, data, scoring, [&](const std::string& model, std::size_t done, std::size_t all) {
    progress.show(model, static_cast<std::int64_t>(done), static_cast<std::int64_t>(all));
  });
}

std::string with_rows(nlohmann::json result, const std::string& rows) {
  const nlohmann::json list = std::exchange(result[rows], nlohmann::json::array());
  std::string text = result.dump(1, ' ', false, nlohmann::json::error_handler_t::replace), lines;
  for (const nlohmann::json& row : list) lines += (lines.empty() ? "\n  " : ",\n  ") + json_line(row);
  const std::string empty = fmt::format("\n \"{}\": []", rows);
  return text.replace(text.find(empty), empty.size(), fmt::format("\n \"{}\": [{}\n ]", rows, lines)) + "\n";
}

void expect_folder(const std::filesystem::path& out) {
  std::error_code ignored;
  if (std::filesystem::exists(out, ignored) && !std::filesystem::is_directory(out, ignored))
    throw ConfigError("output-is-another-file", fmt::format("--out {}: this is a file; name a folder", out.string()));
}

}  // namespace dmoerm::cli
