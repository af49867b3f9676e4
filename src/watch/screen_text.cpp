#include "watch/screen_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>

#include "base/text.h"
#include "watch/text_cells.h"

namespace dmoerm::watch {
namespace {

constexpr int kNameColumnsMin = 24;
constexpr int kColumnMax = 12;

/// A column behind the name of the task. On a narrow terminal those with the lowest `worth` are left out first.
struct Column {
  const char* head;
  int worth;
  std::string (*text)(const RunState& state, const TaskState& task, double now);
};

std::string step_text(const TaskState& t) {
  if (t.status == TaskStatus::labelling) return t.label_total > 0 ? fmt::format("{}/{}", t.labelled, t.label_total) : "";
  if (t.step < 0) return "";
  return t.steps_max > 0 ? fmt::format("{}/{}", t.step, t.steps_max) : fmt::format("{}", t.step);
}

/// The text, or "" for a dash, because many dashes make a table hard to read.
std::string known(std::string text) { return text == "-" ? "" : text; }

constexpr std::array kColumns = {
    Column{"state", 9, [](const RunState&, const TaskState& t, double) { return std::string(to_text(t.status)); }},
    Column{"step", 8, [](const RunState&, const TaskState& t, double) { return step_text(t); }},
    Column{"loss", 5, [](const RunState&, const TaskState& t, double) { return known(loss_text(t.train_loss)); }},
    Column{"accuracy", 7, [](const RunState&, const TaskState& t, double) { return known(percent_text(t.validation_accuracy)); }},
    Column{"tokens/s", 4,
           [](const RunState&, const TaskState& t, double) {
             return t.status == TaskStatus::running ? known(short_number(t.tokens_per_s)) : "";
           }},
    Column{"MFU", 3, [](const RunState& s, const TaskState& t, double) { return known(percent_text(s.mfu(t))); }},
    Column{"ETA", 6, [](const RunState& s, const TaskState& t, double now) { return known(clock_text(s.task_eta(t, now))); }},
    Column{"ranks", 2, [](const RunState&, const TaskState& t, double) { return ranges_text(t.ranks); }},
};

struct Shown {
  const Column* column;
  int width;
};

/// The columns that are not empty, as wide as needed. Those with the lowest worth are left out if the names have too little room.
std::vector<Shown> columns_for(const RunState& state, const View& view) {
  std::vector<Shown> chosen;
  int names = columns_of("task"), used = 0;
  for (const TaskState& task : state.tasks()) names = std::max(names, columns_of(printable(task.id)));
  for (const Column& column : kColumns) {
    int width = 0;
    for (const TaskState& task : state.tasks()) width = std::max(width, columns_of(column.text(state, task, view.now)));
    if (width == 0) continue;
    chosen.push_back({&column, std::clamp(width, columns_of(column.head), kColumnMax)});
    used += chosen.back().width + 1;
  }
  while (!chosen.empty() && view.width - used < std::min(names, kNameColumnsMin)) {
    const auto least = std::ranges::min_element(chosen, {}, [](const Shown& shown) { return shown.column->worth; });
    used -= least->width + 1;
    chosen.erase(least);
  }
  return chosen;
}

const char* colour_of(TaskStatus status) {
  switch (status) {
    case TaskStatus::done:
      return "\033[32m";
    case TaskStatus::failed:
      return "\033[31m";
    case TaskStatus::running:
    case TaskStatus::labelling:
      return "\033[36m";
    case TaskStatus::paused:
    case TaskStatus::retry:
    case TaskStatus::stopped:
      return "\033[33m";
    default:
      return "\033[2m";
  }
}

/// Rank of a task when not all can be shown: tasks with lower numbers are shown first.
int urgency(const TaskState& task) {
  switch (task.status) {
    case TaskStatus::failed:
      return 0;
    case TaskStatus::running:
    case TaskStatus::retry:
      return 1;
    case TaskStatus::paused:
    case TaskStatus::labelling:
      return 2;
    default:
      return 3;
  }
}

/// Number of tasks in each state, as in "3 done, 1 running, 8 waiting".
std::string counts_text(const std::array<std::int64_t, kStatuses.size()>& counts) {
  constexpr std::array kOrder = {TaskStatus::failed,    TaskStatus::skipped, TaskStatus::done,   TaskStatus::running,
                                 TaskStatus::labelling, TaskStatus::retry,   TaskStatus::paused, TaskStatus::stopped,
                                 TaskStatus::ready,     TaskStatus::waiting};
  static_assert(kOrder.size() == kStatuses.size());
  std::string text;
  for (const TaskStatus status : kOrder) {
    if (const auto n = counts[static_cast<std::size_t>(status)]; n > 0)
      text += fmt::format("{}{} {}", text.empty() ? "" : ", ", n, to_text(status));
  }
  return text;
}

class Table {
 public:
  Table(const RunState& state, const View& view) : state_(state), view_(view), columns_(columns_for(state, view)) {
    for (const Shown& shown : columns_) used_ += shown.width + 1;
    for (const TaskState& task : state.tasks()) names_ = std::max(names_, columns_of(printable(task.id)));
  }

  std::vector<std::string> lines() {
    put(whole());
    put(bar() + ranks_text());
    const int room = view_.height > 0 ? std::max(1, view_.height - 3) : std::numeric_limits<int>::max();
    std::string head = pad_to("task", name_columns());
    for (const Shown& shown : columns_) head += " " + pad_to(shown.column->head, shown.width, right(*shown.column));
    put(head, "\033[1m");
    rows(room);
    return std::move(lines_);
  }

 private:
  [[nodiscard]] int name_columns() const { return std::clamp(view_.width - used_, 1, std::max(names_, columns_of("task"))); }
  [[nodiscard]] static bool right(const Column& column) { return std::string_view(column.head) != "state"; }

  void put(const std::string& line, const char* colour = "") {
    std::string text = cut_to(line, view_.width);
    text.erase(text.find_last_not_of(' ') + 1);
    lines_.push_back(view_.colour && *colour != '\0' ? colour + text + "\033[0m" : text);
  }

  [[nodiscard]] std::string whole() const {
    std::string text = printable(state_.name()) + ": " + counts_text(state_.counts());
    if (!state_.lists_all_tasks()) return text + "; only tasks that have left files are known";
    text += fmt::format(" | {:.0f} % | {}", 100 * state_.done_share(), clock_text(state_.elapsed(view_.now)));
    if (state_.finished()) return text;
    return text + " | ETA " + clock_text(state_.run_eta(view_.now));
  }

  [[nodiscard]] std::string bar() const {
    if (!state_.lists_all_tasks()) return "";
    const int columns = std::clamp(view_.width / 4, 4, 30);
    const int full = static_cast<int>(columns * state_.done_share());
    return fmt::format("[{:#>{}}{:.>{}}] ", "", full, "", columns - full);
  }

  /// The ranks by host, as in "4 ranks: a 0-1, b 2-3". Silent ranks come first.
  [[nodiscard]] std::string ranks_text() const {
    std::map<std::string, std::vector<int>> hosts;
    std::string silent;
    for (const RankState& rank : state_.ranks()) {
      hosts[printable(rank.host)].push_back(rank.rank);
      const double silence = RunState::silence(rank, view_.now);
      if (!state_.finished() && silence > view_.silent_s)
        silent += fmt::format("rank {} on {} SILENT for {}, ", rank.rank, printable(rank.host), clock_text(silence));
    }
    std::string text;
    for (auto& [host, ranks] : hosts) {
      std::ranges::sort(ranks);
      text += fmt::format("{}{} {}", text.empty() ? "" : ", ", host, watch::ranges_text(ranks));
    }
    const std::size_t n = state_.ranks().size();
    if (n == 0) return "";
    if (hosts.size() > 4) text = fmt::format("on {} hosts", hosts.size());
    return fmt::format("{}{} {}: {}", silent, n, n == 1 ? "rank" : "ranks", text);
  }

  void row(const TaskState& task) {
    std::string line = pad_to(cut_to(printable(task.id), name_columns(), true), name_columns());
    for (const auto& [column, width] : columns_)
      line += " " + pad_to(cut_to(column->text(state_, task, view_.now), width), width, right(*column));
    put(line, colour_of(task.status));
    if (!task.message.empty() && task.status != TaskStatus::done && view_.height == 0)
      put("    " + printable(task.message), colour_of(task.status));
  }

  /// A line about several tasks that have no line of their own.
  void fold(const std::string& name, const std::vector<const TaskState*>& tasks) {
    std::array<std::int64_t, kStatuses.size()> counts{};
    double accuracy = 0;
    int measured = 0;
    for (const TaskState* task : tasks) {
      ++counts[static_cast<std::size_t>(task->status)];
      if (std::isnan(task->validation_accuracy)) continue;
      accuracy += task->validation_accuracy;
      ++measured;
    }
    std::string text = fmt::format("{}: {}", printable(name), counts_text(counts));
    if (measured > 0) text += fmt::format(", mean accuracy {}", percent_text(accuracy / measured));
    put(text, "\033[2m");
  }

  void rows(int room) {
    const auto& tasks = state_.tasks();
    if (static_cast<int>(std::min<std::size_t>(tasks.size(), 1000000)) <= room) {
      for (const TaskState& task : tasks) row(task);
      return;
    }
    std::vector<const TaskState*> seen;
    for (const TaskState& task : tasks) {
      if (urgency(task) < 3) seen.push_back(&task);
    }
    std::map<std::string, std::vector<const TaskState*>>
        folded;  // tasks by category that are not in `seen`, which has the order of the run
    const auto fold_others = [&] {
      folded.clear();
      for (const TaskState& task : tasks) {
        if (!std::ranges::binary_search(seen, &task)) folded[category_of(task.id)].push_back(&task);
      }
    };
    fold_others();
    if (static_cast<int>(seen.size() + folded.size()) > room) {
      std::ranges::stable_sort(seen, {}, [](const TaskState* t) { return urgency(*t); });
      // Leave room for a line per category if these lines take at most half of it, otherwise for one line about all others.
      const int lines = static_cast<int>(folded.size()) + 1 <= room / 2 ? static_cast<int>(folded.size()) + 1 : 1;
      seen.resize(std::min(seen.size(), static_cast<std::size_t>(std::max(0, room - lines))));
      std::ranges::sort(seen);  // back to the order of the run
      fold_others();
    }
    for (const TaskState* task : seen) row(*task);
    if (static_cast<int>(seen.size() + folded.size()) <= room) {
      for (const auto& [category, others] : folded)
        fold(category.empty() ? "other tasks" : fmt::format("{} {}", category, seen.empty() ? "tasks" : "others"), others);
      return;
    }
    std::vector<const TaskState*> others;
    for (const auto& [category, part] : folded) others.insert(others.end(), part.begin(), part.end());
    fold(fmt::format("{} others", others.size()), others);
  }

  const RunState& state_;
  const View& view_;
  std::vector<Shown> columns_;
  int used_ = 0, names_ = 0;
  std::vector<std::string> lines_;
};

}  // namespace

std::vector<std::string> screen_text(const RunState& state, const View& view) { return Table(state, view).lines(); }

}  // namespace dmoerm::watch
