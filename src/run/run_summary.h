// How a run of tasks ended.
#pragma once
#include <map>
#include <set>
#include <string>

namespace dmoerm::run {

struct RunSummary {
  std::set<std::string> done;
  std::map<std::string, std::string> failed;  ///< Message of each task that failed
  std::set<std::string> skipped;              ///< Tasks that did not start or did not finish
  int exit_code = 0;                          ///< Exit code of the gravest failure
  bool stopped = false;                       ///< Whether a signal or a limit of labelling ended it; running again continues

  [[nodiscard]] bool complete() const { return failed.empty() && skipped.empty(); }
};

}  // namespace dmoerm::run
