// Several runs side by side: how good, how they learnt, at what cost, and which settings differ.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "report/accuracies.h"
#include "report/run_facts.h"

namespace dmoerm::report {

struct ComparedRun {
  std::string title;  ///< Its name; with its folder if two have the same name
  Run run;
  Accuracies accuracies;
  double tokens = 0, seconds = 0;  ///< Of all trainings; 0 = not known
  double label_requests = 0, label_cost = 0;
  std::string currency;
};

/// Mixtures of two runs on the test groups that both have: those with the same id and number of pairs in the same category.
struct SharedGroups {
  std::size_t groups = 0, of_first = 0, of_other = 0;  ///< Shared groups, and how many each run has
  std::optional<eval::Interval> difference;            ///< Accuracy of the other run less that of the first
};

struct Comparison {
  std::vector<ComparedRun> runs;
  std::vector<std::string>
      rows;  ///< Categories of any run in the order of the first that has them, then "all" if there are several
  std::vector<SharedGroups> against_first;  ///< Of each run after the first
  /// Settings that differ, by key as settings_of() has it, and contents of what they name, as contents_of() does: its value in
  /// each run, "" where the key is missing. Paths, names and limits of the machine count.
  std::vector<std::pair<std::string, std::vector<std::string>>> settings;
  bool contents_known = false;  ///< Whether all runs say what the files and folders of their settings held

  /// One sentence for each run after the first.
  [[nodiscard]] std::vector<std::string> sentences() const;
};
/// @param on_run  told how many runs are read
/// @throws ConfigError if a folder is not a run
Comparison compare_runs(const std::vector<std::string>& folders,
                        const std::function<void(std::int64_t done, std::int64_t all)>& on_run = {});

/// Tables for a terminal, in Markdown.
std::string comparison_text(const Comparison& comparison);
/// The same as a page, with learning curves.
std::string comparison_page(const Comparison& comparison);

}  // namespace dmoerm::report
