// The numbers of a run as MLflow keeps them in files, for people who look at all their experiments there.
#pragma once
#include <filesystem>
#include <string>

#include "report/run_facts.h"

namespace dmoerm::report {

/// Add a run to an MLflow file store (the folder that `mlflow ui --backend-store-uri` reads): the experiment has the run's name,
/// each training is a run of it with its curve, and one more run has the accuracies on the test prompts. What was written for
/// this run's directory before is replaced; runs of the same name in other directories are added to the experiment.
/// @return number of runs written
/// @throws IoError; ConfigError if the folder holds other things than a file store
std::size_t write_mlflow(const Run& run, const std::filesystem::path& store);

}  // namespace dmoerm::report
