// Labelling as `dmoerm label` and `dmoerm run` do it: the configuration's points, texts, judges and store put together, and each
// finished point's verdicts written into the run directory.
#pragma once
#include <filesystem>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "config/run_config.h"
#include "label/labeller.h"
#include "label/point_verdicts.h"
#include "label/targets.h"
#include "run/run_directory.h"

namespace dmoerm::run {

class LabelJob {
 public:
  /// Select the groups (once a data set), load judges, template and criteria, choose the pairs. Sends nothing, needs no key and
  /// does not lock the store.
  /// @param only  points or categories; empty: all
  /// @throws ConfigError, DataError, IoError
  LabelJob(const config::RunConfig& config, run::RunDirectory directory, const std::vector<std::string>& only);

  /// "label/<category>/<point>"
  static std::string task(const label::Target& target) { return "label/" + target.category + "/" + target.point; }
  /// What decides a point's verdicts, by task.
  [[nodiscard]] const std::map<std::string, run::TaskIdentity>& identities() const { return identities_; }
  [[nodiscard]] const std::vector<label::Target>& targets() const { return targets_; }

  /// Whether a point's verdicts are not in the run directory yet.
  [[nodiscard]] bool any_open() const;

  /// The dry run's table. Looks answers up in the store if it can be opened.
  std::string estimate();

  /// Read the keys and lock the store. run() does it too: this says early what is wrong.
  void open();

  struct Run {
    label::SpendLimits limits;                                  ///< of this run alone
    bool terminal = false;                                      ///< draw the live line; else log one a minute
    std::set<std::string> tasks = {};                           ///< label these only; empty: all
    std::function<bool()> stop;                                 ///< true: collect what is in flight, and end
    std::function<void(const std::string&)> point_done;         ///< told each task whose verdicts are in the run directory now
    std::function<void(const label::LabelProgress&)> progress;  ///< often told how far it is
  };
  /// Ask what is not known, and write the report.
  label::LabellingEnd run(const Run& how);

 private:
  [[nodiscard]] label::PointQuestions questions(std::size_t target) const;
  /// The targets of some tasks; of those asked for if `tasks` is empty.
  struct Part {
    std::vector<std::size_t> numbers;
    std::vector<label::Target> targets;
    std::vector<std::vector<label::GroupPairs>> pairs;
  };
  [[nodiscard]] Part part(const std::set<std::string>& tasks) const;
  void write_point(std::size_t target);
  /// @param quickly  leave out unfinished points that take long to count: somebody waits for the end
  void write_report(bool quickly);

  const config::RunConfig& config_;
  run::RunDirectory directory_;
  std::filesystem::path store_path_;
  std::vector<judge::Judge> judges_;
  std::optional<label_store::LabelStore> store_;
  std::unique_ptr<label::GroupFile> groups_;
  std::vector<label::Target> targets_;  ///< all of the configuration
  std::set<std::string> only_;          ///< tasks that are asked for; empty: all
  std::vector<std::vector<label::GroupPairs>> pairs_;
  std::map<std::string, run::TaskIdentity> identities_;
  std::map<std::size_t, label::PointVerdicts> summaries_;  ///< of targets, for the report, without their groups
};

/// Of `labels` where `store` is empty: `runs_dir`/labels.
std::filesystem::path label_store_path(const config::RunConfig& config);

}  // namespace dmoerm::run
