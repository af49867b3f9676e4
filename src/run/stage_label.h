// The stage "label", for `dmoerm label` and `dmoerm run`: asks the judges about the configuration's points, and writes each
// finished point's verdicts into the run directory. One task per point, or per point and round of labels.rounds.
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
#include "label/store_to_look_at.h"
#include "label/targets.h"
#include "plan/task_id.h"
#include "run/run_directory.h"

namespace dmoerm::run {

class LabelStage {
 public:
  /// Selects the groups (once per data set), and loads judges, template and criteria. Sends nothing, needs no key and does not
  /// lock the store.
  /// @param only   points or categories; empty: all
  /// @param store  the run's token store; nullptr: see groups_read()
  /// @throws ConfigError, DataError, IoError
  LabelStage(const config::RunConfig& config, RunDirectory directory, const std::vector<std::string>& only,
             const data::TokenStore* store = nullptr);

  /// Identity of the task that selected the groups.
  [[nodiscard]] const TaskIdentity& selection() const { return selection_; }
  /// Identity of each task's verdicts. Those of later rounds have no inputs and revision yet.
  [[nodiscard]] const std::map<std::string, TaskIdentity>& identities() const { return identities_; }
  /// Take over the complete identities of tasks.
  void identify(const std::map<std::string, TaskIdentity>& identities);
  /// The tasks of the first round.
  [[nodiscard]] std::set<std::string> first_round() const;
  /// The tasks whose gaps a task's pairs are chosen by, earlier rounds first.
  [[nodiscard]] const std::vector<std::string>& chosen_by(const std::string& task) const;

  /// Whether some task's verdicts are missing in the run directory.
  [[nodiscard]] bool any_open() const;
  /// Choose the pairs of the first round, which may need a model that is loaded. run() does the same.
  void choose_first();

  /// Refuse to replace verdicts that were made with other settings or data, if the run has trained already: its models were made
  /// from them. Before that, only say what differs. @param update  replace them anyway
  /// @throws ConfigError with the code "run-was-made-otherwise"
  void expect_same_settings(bool update) const;

  /// The table of the dry run, over all rounds. Looks up answers in the store if it can be opened.
  std::string estimate();

  /// Read the API keys and lock the store, to report problems early. run() does the same.
  /// @throws ConfigError, with the code "label-store-in-use" while another process labels, and "labels-of-another-store" if it
  /// lacks answers that verdicts of the run were made from; IoError, DataError
  void open();
  /// Unlock the store. run() opens it again.
  void close();

  struct Run {
    label::SpendLimits limits;                           ///< Limits of this call alone
    bool terminal = false;                               ///< Whether to draw the live line; else a line is logged every minute
    std::set<std::string> tasks = {};                    ///< Tasks to label; empty: all of the first round
    std::function<bool()> stop;                          ///< Returns whether to collect the open requests and end
    std::function<void(const std::string&)> point_done;  ///< Receives each task whose verdicts are now in the run directory
    /// Receives the progress, often, with the task of each of its points
    std::function<void(const label::LabelProgress&, const std::vector<std::string>& tasks)> progress;
  };
  /// Ask the questions without a stored answer, and write the report. Where there are none, the store needs not be writable. The
  /// gaps that the tasks' pairs are chosen by must be there.
  label::LabellingEnd run(const Run& how);

  /// Ask about `pairs` pairs that the data's human labels order (see label::draw_audit()), and write label/audit.md and
  /// label/audit.json into the run directory. @throws DataError if human labels order no pair
  label::LabellingEnd audit(std::int64_t pairs, const Run& how);
  /// The table of the dry run of an audit.
  std::string audit_estimate(std::int64_t pairs);

 private:
  void take_up(label_store::LabelStore& store, bool remember) const;
  void take_over(label_store::LabelStore store);
  /// One point in one round.
  struct Asking {
    std::size_t target = 0;  ///< Number in targets_
    int round = 1;
    std::string task;
    std::vector<std::string> chosen_by;  ///< See chosen_by()
    std::optional<std::vector<label::GroupPairs>> pairs = {};
  };
  /// Some points in some rounds.
  struct Asked {
    std::vector<std::size_t> numbers;  ///< Numbers in askings_
    std::vector<std::string> tasks;
    std::vector<label::Target> targets;
    std::vector<std::vector<label::GroupPairs>> pairs;
  };
  void open_or_look(const std::set<std::string>& tasks);
  void expect_answers_of_verdicts();
  [[nodiscard]] TaskIdentity identity_of(const Asking& asking) const;
  /// Whether a model learns from a point's labels: its expert, or the phase-1 models and baselines that learn from all points.
  [[nodiscard]] bool trains_on(const label::Target& target) const;
  /// read_ for one point: without the train groups if no model learns from its labels, which then only measure its expert.
  [[nodiscard]] std::vector<bool> read_of(const label::Target& target) const;
  /// The pairs of an asking, chosen now if they were not before.
  const std::vector<label::GroupPairs>& pairs_of(std::size_t asking);
  /// Whether the pairs of a later round are known, or were in an earlier run.
  [[nodiscard]] bool has_pairs(const Asking& asking) const;
  /// The asking of the same target in the round before.
  [[nodiscard]] std::size_t before(std::size_t asking) const { return asking - targets_.size(); }
  [[nodiscard]] label::PointQuestions questions(std::size_t asking);
  [[nodiscard]] Asked select(const std::set<std::string>& tasks);
  /// All rounds, with pairs that are drawn where gaps will choose.
  [[nodiscard]] Asked select_all_rounds();
  [[nodiscard]] std::vector<label::AuditedPairs> draw_audit(std::int64_t pairs);
  static Asked questions_of(const std::vector<label::AuditedPairs>& about);
  [[nodiscard]] label::Budget budget(const label::SpendLimits& limits) const;
  /// Ask about some pairs within a budget, showing the progress.
  label::LabellingEnd ask(const Asked& asked, label::Budget& budget, const Run& how, const config::LabelsConfig& settings,
                          const std::function<void(std::size_t)>& point_done);
  void write_point(std::size_t asking);
  /// @param quickly  leave out unfinished points that take long to count, because somebody waits for the end
  void write_report(bool quickly);
  [[nodiscard]] std::string rounds_table() const;

  const config::RunConfig& config_;
  RunDirectory directory_;
  std::filesystem::path store_path_;
  std::vector<judge::Judge> judges_;
  std::shared_ptr<label::StoreToLookAt> view_;  ///< What store_ is if the configured one cannot be written
  std::optional<label_store::LabelStore> store_;
  std::unique_ptr<label::GroupFile> groups_;
  std::string groups_sha_, read_sha_;   ///< Hashes of the file of groups, and of read_
  std::vector<bool> read_;              ///< See groups_read()
  std::vector<label::Target> targets_;  ///< All points of the configuration
  int rounds_ = 1;
  std::vector<Asking> askings_;                                    ///< By round, and in a round by target
  std::set<std::string> only_;                                     ///< Tasks of the first round to do; empty: all
  std::optional<std::map<std::string, label::Gaps>> bundle_gaps_;  ///< Of labels.pairs.bundle, by category/point
  TaskIdentity selection_;
  std::map<std::string, TaskIdentity> identities_;
  std::vector<label::JudgeWatch> watches_;                 ///< What the last run() has learnt of the judges
  std::vector<std::string> notes_;                         ///< LabelProgress::notes of the last run
  std::map<std::size_t, label::PointVerdicts> summaries_;  ///< Verdicts by asking, for the report, without their groups
};

/// The configured label store, `runs_dir`/labels by default.
std::filesystem::path label_store_path(const config::RunConfig& config);

}  // namespace dmoerm::run
