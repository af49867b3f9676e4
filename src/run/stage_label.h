// The stage "label", for `dmoerm label` and `dmoerm run`: asks the judges about the configuration's points, and writes each
// finished point's verdicts into the run directory. One task per point.
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
#include "data/token_store.h"
#include "label/audit.h"
#include "label/labeller.h"
#include "label/point_verdicts.h"
#include "label/targets.h"
#include "plan/task_id.h"
#include "run/run_directory.h"

namespace dmoerm::run {

class LabelStage {
 public:
  /// Selects the groups (once per data set), loads judges, template and criteria, and chooses the pairs. Sends nothing, needs no
  /// key and does not lock the store.
  /// @param only   points or categories; empty: all
  /// @param store  the run's token store; nullptr: see groups_read()
  /// @throws ConfigError, DataError, IoError
  LabelStage(const config::RunConfig& config, RunDirectory directory, const std::vector<std::string>& only,
             const data::TokenStore* store = nullptr);

  /// "label/<category>/<point>"
  static std::string task(const label::Target& target) { return plan::TaskId::label(target.category, target.point).text(); }
  /// Identity of the task that selected the groups.
  [[nodiscard]] const TaskIdentity& selection() const { return selection_; }
  /// Identity of each point's verdicts, by task.
  [[nodiscard]] const std::map<std::string, TaskIdentity>& identities() const { return identities_; }
  [[nodiscard]] const std::vector<label::Target>& targets() const { return targets_; }

  /// Whether some point's verdicts are missing in the run directory.
  [[nodiscard]] bool any_open() const;

  /// The table of the dry run. Looks up answers in the store if it can be opened.
  std::string estimate();

  /// Read the API keys and lock the store, to report problems early. run() does the same.
  void open();

  struct Run {
    label::SpendLimits limits;                           ///< Limits of this call alone
    bool terminal = false;                               ///< Whether to draw the live line; else a line is logged every minute
    std::set<std::string> tasks = {};                    ///< Tasks to label; empty: all
    std::function<bool()> stop;                          ///< Returns whether to collect the open requests and end
    std::function<void(const std::string&)> point_done;  ///< Receives each task whose verdicts are now in the run directory
    std::function<void(const label::LabelProgress&)> progress;  ///< Receives the progress, often
  };
  /// Ask the questions without a stored answer, and write the report.
  label::LabellingEnd run(const Run& how);

  /// Ask about `pairs` pairs that the data's human labels order (see label::draw_audit()), and write label/audit.md and
  /// label/audit.json into the run directory. @throws DataError if human labels order no pair
  label::LabellingEnd audit(std::int64_t pairs, const Run& how);
  /// The table of the dry run of an audit.
  std::string audit_estimate(std::int64_t pairs);

 private:
  [[nodiscard]] label::PointQuestions questions(std::size_t target) const;
  /// The targets of some tasks.
  struct Asked {
    std::vector<std::size_t> numbers;
    std::vector<label::Target> targets;
    std::vector<std::vector<label::GroupPairs>> pairs;
  };
  [[nodiscard]] Asked select(const std::set<std::string>& tasks) const;
  [[nodiscard]] std::vector<label::AuditedPairs> draw_audit(std::int64_t pairs);
  static Asked questions_of(const std::vector<label::AuditedPairs>& about);
  [[nodiscard]] label::Budget budget(const label::SpendLimits& limits) const;
  /// Ask about some pairs within a budget, showing the progress.
  label::LabellingEnd ask(const Asked& asked, label::Budget& budget, const Run& how, const config::LabelsConfig& settings,
                          const std::function<void(std::size_t)>& point_done);
  void write_point(std::size_t target);
  /// @param quickly  leave out unfinished points that take long to count, because somebody waits for the end
  void write_report(bool quickly);

  const config::RunConfig& config_;
  const data::TokenStore* data_store_;
  RunDirectory directory_;
  std::filesystem::path store_path_;
  std::vector<judge::Judge> judges_;
  std::optional<label_store::LabelStore> store_;
  std::unique_ptr<label::GroupFile> groups_;
  std::vector<label::Target> targets_;  ///< All points of the configuration
  std::set<std::string> only_;          ///< Tasks to do; empty: all
  std::vector<std::vector<label::GroupPairs>> pairs_;
  TaskIdentity selection_;
  std::map<std::string, TaskIdentity> identities_;
  std::vector<std::string> notes_;                         ///< LabelProgress::notes of the last run
  std::map<std::size_t, label::PointVerdicts> summaries_;  ///< Verdicts by target, for the report, without their groups
};

/// The configured label store, `runs_dir`/labels by default.
std::filesystem::path label_store_path(const config::RunConfig& config);

}  // namespace dmoerm::run
