#include "watch/metrics_text.h"

#include <fmt/format.h>

#include <cmath>
#include <functional>

#include "watch/text_cells.h"

namespace dmoerm::watch {
namespace {

constexpr double kAliveS = 10;  // a rank that was heard within this time counts as alive

/// The value of a label, with backslashes and quotes escaped and without control characters.
std::string label(std::string_view value) {
  std::string text;
  for (const char c : printable(value)) {
    if (c == '\\' || c == '"') text += '\\';
    text += c;
  }
  return text;
}

std::string number(double value) {
  return std::isnan(value) ? "NaN" : std::isinf(value) ? (value > 0 ? "+Inf" : "-Inf") : fmt::format("{}", value);
}

class Metrics {
 public:
  void family(const char* name, const char* type, const char* help) {
    name_ = name;
    text_ += fmt::format("# HELP {} {}\n# TYPE {} {}\n", name, help, name, type);
  }
  void sample(const std::string& labels, double value) {
    text_ += fmt::format("{}{}{}{} {}\n", name_, labels.empty() ? "" : "{", labels, labels.empty() ? "" : "}", number(value));
  }
  void one(const char* name, const char* type, const char* help, double value) {
    if (std::isnan(value)) return;
    family(name, type, help);
    sample("", value);
  }
  /// A family with a sample for every task whose value is known.
  void tasks(const RunState& state, const char* name, const char* type, const char* help,
             const std::function<double(const TaskState&)>& value) {
    bool begun = false;
    for (const TaskState& task : state.tasks()) {
      const double v = value(task);
      if (std::isnan(v)) continue;
      if (!begun) family(name, type, help);
      begun = true;
      sample(fmt::format("task=\"{}\",category=\"{}\"", label(task.id), label(category_of(task.id))), v);
    }
  }
  [[nodiscard]] std::string take() { return std::move(text_); }

 private:
  std::string text_, name_;
};

double known(std::int64_t count) { return count < 0 ? kUnknown : static_cast<double>(count); }

}  // namespace

std::string metrics_text(const RunState& state, double now) {
  Metrics m;
  m.family("dmoerm_run_info", "gauge", "Name of the run; always 1.");
  m.sample(fmt::format("run=\"{}\"", label(state.name())), 1);
  m.one("dmoerm_run_elapsed_seconds", "gauge", "Seconds since this start of the run.", state.elapsed(now));
  m.one("dmoerm_run_eta_seconds", "gauge", "Seconds until the run ends, at the pace so far.", state.run_eta(now));
  m.one("dmoerm_run_done_ratio", "gauge", "Share of the cost of all tasks that is done.", state.done_share());
  m.one("dmoerm_run_finished", "gauge", "1 when the run has ended.", state.finished() ? 1 : 0);
  if (state.finished()) m.one("dmoerm_run_exit_code", "gauge", "Exit code of the ended run.", state.exit_code());
  m.one("dmoerm_state_timestamp_seconds", "gauge", "Time of this state, in seconds since 1970.", now);
  m.family("dmoerm_tasks", "gauge", "Tasks by state.");
  const auto counts = state.counts();
  for (const TaskStatus status : kStatuses)
    m.sample(fmt::format("state=\"{}\"", to_text(status)), static_cast<double>(counts[static_cast<std::size_t>(status)]));
  if (!state.tasks().empty()) m.family("dmoerm_task_state", "gauge", "1 for the state that a task is in.");
  for (const TaskState& task : state.tasks())
    m.sample(fmt::format("task=\"{}\",category=\"{}\",state=\"{}\"", label(task.id), label(category_of(task.id)),
                         to_text(task.status)),
             1);
  using Task = const TaskState&;
  m.tasks(state, "dmoerm_task_step", "gauge", "Optimizer step.", [](Task t) { return known(t.step); });
  m.tasks(state, "dmoerm_task_steps_max", "gauge", "Largest possible number of steps.",
          [](Task t) { return known(t.steps_max); });
  m.tasks(state, "dmoerm_task_done_ratio", "gauge", "Share of the task that is done, if it does not stop early.",
          [](Task t) { return t.fraction; });
  m.tasks(state, "dmoerm_task_train_loss", "gauge", "Training loss.", [](Task t) { return t.train_loss; });
  m.tasks(state, "dmoerm_task_validation_loss", "gauge", "Validation loss.", [](Task t) { return t.validation_loss; });
  m.tasks(state, "dmoerm_task_validation_accuracy", "gauge", "Validation accuracy, 0 to 1.",
          [](Task t) { return t.validation_accuracy; });
  m.tasks(state, "dmoerm_task_learning_rate", "gauge", "Learning rate.", [](Task t) { return t.lr; });
  m.tasks(state, "dmoerm_task_gradient_norm", "gauge", "Norm of the last gradient.", [](Task t) { return t.gradient_norm; });
  m.tasks(state, "dmoerm_task_tokens_total", "counter", "Tokens trained on.", [](Task t) { return known(t.tokens); });
  m.tasks(state, "dmoerm_task_tokens_per_second", "gauge", "Tokens per second of a running task.",
          [](Task t) { return t.status == TaskStatus::running ? t.tokens_per_s : kUnknown; });
  m.tasks(state, "dmoerm_task_mfu_ratio", "gauge", "Model FLOP/s divided by the peak of the devices.",
          [&](Task t) { return state.mfu(t); });
  m.tasks(state, "dmoerm_task_eta_seconds", "gauge", "Seconds until a running task ends.",
          [&](Task t) { return state.task_eta(t, now); });
  m.tasks(state, "dmoerm_task_ranks", "gauge", "Ranks that work on the task.",
          [](Task t) { return static_cast<double>(t.ranks.size()); });
  m.tasks(state, "dmoerm_task_starts_total", "counter", "Starts of the task in this run.",
          [](Task t) { return known(t.starts); });
  m.tasks(state, "dmoerm_task_labelled", "gauge", "Questions that judges have answered.",
          [](Task t) { return t.label_total > 0 ? known(t.labelled) : kUnknown; });
  m.tasks(state, "dmoerm_task_label_questions", "gauge", "Questions to judges.",
          [](Task t) { return t.label_total > 0 ? known(t.label_total) : kUnknown; });
  m.tasks(state, "dmoerm_task_label_cost", "gauge", "Money spent on judges, in the currency of the configuration.",
          [](Task t) { return t.label_cost; });
  double alive = 0;
  for (const RankState& rank : state.ranks()) alive += RunState::silence(rank, now) <= kAliveS ? 1 : 0;
  m.one("dmoerm_ranks", "gauge", "Ranks of the run.", static_cast<double>(state.ranks().size()));
  m.one("dmoerm_ranks_alive", "gauge", "Ranks heard within the last 10 seconds.", alive);
  if (!state.ranks().empty()) m.family("dmoerm_rank_silence_seconds", "gauge", "Seconds since a rank was heard; NaN if never.");
  for (const RankState& rank : state.ranks())
    m.sample(fmt::format("rank=\"{}\",host=\"{}\"", rank.rank, label(rank.host)), RunState::silence(rank, now));
  return m.take();
}

}  // namespace dmoerm::watch
