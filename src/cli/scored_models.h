// The options of verbs that score data with several models.
#pragma once
#include <CLI/CLI.hpp>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "eval/scorers.h"

namespace dmoerm::cli {

struct ModelOptions {
  std::vector<std::string> bundles, models;
  eval::ScoringOptions scoring;
  std::string weights = "float32";
  int threads = 0;
};

void add_model_options(CLI::App& verb, ModelOptions& options);
/// Files of --data and those after the options. @throws ConfigError if there is none
std::vector<std::string> input_files(std::vector<std::string> data, const std::vector<std::string>& files);
/// The models that the options name. @throws ConfigError if there is none
std::vector<eval::ModelSpec> models_of(const ModelOptions& options);
/// eval::score_all() with a line of progress on stderr.
std::vector<eval::ModelScores> score(const std::vector<eval::ModelSpec>& models, const eval::Data& data,
                                     const ModelOptions& options);
/// JSON for people: indented, but each element of the list `rows` on a line of its own.
std::string with_rows(nlohmann::json result, const std::string& rows);
/// Refuse an output folder that cannot be one, before anything is computed. @throws ConfigError
void expect_folder(const std::filesystem::path& out);

}  // namespace dmoerm::cli
