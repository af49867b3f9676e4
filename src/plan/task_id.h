// The names of a run's tasks: typed in the program, folders of the run directory on the disk.
#pragma once
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace dmoerm::plan {

enum class TaskKind {
  ingest,             ///< tokenises the inputs into the token store
  selection,          ///< writes the texts of the groups that judges may label
  label,              ///< asks judges about one point
  router,             ///< fits the category router
  base,               ///< phase 1 of a category
  base_of_all,        ///< phase 1 over all categories, which bases may start from
  single,             ///< baseline over all categories, and the fallback
  category_baseline,  ///< baseline of one category
  pooled_baseline,    ///< baseline of one category on overall preferences and the pairs of its points together
  expert_set,         ///< phase 2: experts of a category that step together
  gaps,               ///< what a round's experts think of the groups whose pairs the next round chooses from
  features,           ///< states of a category's experts, cached for phase 3
  aggregator,         ///< phase 3 of a category
  eval,               ///< test figures of a category
  report,             ///< tables over all categories
  bundle,             ///< the finished model
};

/// One task of a run. Names of categories and points hold neither "/" nor "+", so text() can be read back.
struct TaskId {
  TaskKind kind = TaskKind::report;
  std::string category = {};             ///< empty for tasks that are not of one category
  std::vector<std::string> points = {};  ///< Points of an expert set, or the one that is labelled
  /// Round of labelling that the task belongs to, if another follows; 0 for the last round and for tasks of no round.
  std::int32_t round = 0;
  /// Fold of the train prompts, counted from 1, that the task's models are trained without; 0 for models of all train groups and
  /// for tasks of no fold. A task of a fold is of the last round.
  std::int32_t fold = 0;

  static TaskId ingest() { return {TaskKind::ingest}; }
  static TaskId selection() { return {TaskKind::selection}; }
  static TaskId label(std::string category, std::string point, std::int32_t round = 0) {
    return {TaskKind::label, std::move(category), {std::move(point)}, round};
  }
  static TaskId router() { return {TaskKind::router}; }
  static TaskId base(std::string category, std::int32_t fold = 0) { return {TaskKind::base, std::move(category), {}, 0, fold}; }
  static TaskId base_of_all(std::int32_t fold = 0) { return {TaskKind::base_of_all, {}, {}, 0, fold}; }
  static TaskId single() { return {TaskKind::single}; }
  static TaskId category_baseline(std::string category) { return {TaskKind::category_baseline, std::move(category)}; }
  static TaskId pooled_baseline(std::string category) { return {TaskKind::pooled_baseline, std::move(category)}; }
  static TaskId expert(std::string category, std::vector<std::string> points, std::int32_t round = 0, std::int32_t fold = 0) {
    return {TaskKind::expert_set, std::move(category), std::move(points), round, fold};
  }
  static TaskId gaps(std::string category, std::vector<std::string> points, std::int32_t round) {
    return {TaskKind::gaps, std::move(category), std::move(points), round};
  }
  static TaskId features(std::string category) { return {TaskKind::features, std::move(category)}; }
  static TaskId aggregator(std::string category) { return {TaskKind::aggregator, std::move(category)}; }
  static TaskId eval(std::string category) { return {TaskKind::eval, std::move(category)}; }
  static TaskId report() { return {TaskKind::report}; }
  static TaskId bundle() { return {TaskKind::bundle}; }

  /// The task's folder in the run directory, e.g. "expert/chat/logic+tone", "expert-round-1/chat/logic+tone" or
  /// "expert-fold-2/chat/logic+tone".
  [[nodiscard]] std::string text() const;
  /// The task that `text` names; nullopt if it names none.
  static std::optional<TaskId> parse(std::string_view text);

  /// The same task for all train groups.
  [[nodiscard]] TaskId without_fold() const {
    TaskId whole = *this;
    whole.fold = 0;
    return whole;
  }

  auto operator<=>(const TaskId&) const = default;
};

/// First word of the tasks' folders: "base", "expert", ...
std::string_view kind_text(TaskKind kind);
/// kind_text() of the task of that name; the name itself if it is not a task of a run.
std::string kind_text(const std::string& task);
/// Whether the ranks have no part in such a task: the first rank does it before they start, or beside them.
bool is_external(TaskKind kind);
/// Whether such a task trains reward models, which may stop early.
bool trains(TaskKind kind);

}  // namespace dmoerm::plan
