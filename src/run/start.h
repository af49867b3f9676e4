// Starts a run on all ranks, and ends it on all of them together.
#pragma once
#include <exception>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "label/labelling_end.h"
#include "run/run_summary.h"

namespace dmoerm::run {

struct RunRequest {
  std::string config_file;
  std::vector<std::string> overrides;  ///< Keys set on the command line: "base.lr=1e-4"
  bool update = false;                 ///< Whether to do changed tasks again, instead of refusing the run directory
};

/// What to show of a run that has ended.
struct RunEnd {
  RunSummary summary;
  label::LabellingEnd label_end;  ///< How the run's labelling ended; complete if there was none
  std::filesystem::path report, bundle;
};

/// Thrown on a rank that leaves because of another rank's error, which the other rank reports.
class ReportedByOther : public std::exception {
 public:
  explicit ReportedByOther(int exit_code) : exit_code_(exit_code) {}
  [[nodiscard]] int exit_code() const { return exit_code_; }
  [[nodiscard]] const char* what() const noexcept override { return "another rank reports the error"; }

 private:
  int exit_code_;
};

/// Do a whole run, from the inputs to the bundle. Every rank of the job calls it.
/// @param show  called on the first rank, before the ranks leave
/// @return the exit code of the process
/// @throws Error what ended the run, on the rank that reports it; ReportedByOther on the others
int run_all(const RunRequest& request, const std::function<void(const RunEnd&)>& show);

}  // namespace dmoerm::run
