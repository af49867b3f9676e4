#include "watch/run_state.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "watch/json_fields.h"

namespace dmoerm::watch {
namespace {

using nlohmann::json;
constexpr double kPaceS = 10;  // shortest time over which a pace is measured

bool open(TaskStatus s) { return s < TaskStatus::stopped; }
bool active(TaskStatus s) { return s == TaskStatus::running || s == TaskStatus::labelling; }

std::vector<int> ranks_of(const json& event, std::vector<int> otherwise) {
  const auto found = event.find("ranks");
  if (found == event.end() || !found->is_array()) return otherwise;
  std::vector<int> ranks;
  for (const json& rank : *found) {
    if (rank.is_number_integer()) ranks.push_back(rank.get<int>());
  }
  return ranks;
}

void put(json& object, const char* key, double value) {
  if (std::isfinite(value)) object[key] = value;
}

void put(json& object, const char* key, std::int64_t value) {
  if (value >= 0) object[key] = value;
}

/// Call visit(key, member) for every number of a task.
template <class Task, class Visit>
void each_number(Task& task, const Visit& visit) {
  visit("cost", task.cost);
  visit("starts", task.starts);
  visit("step", task.step);
  visit("steps_max", task.steps_max);
  visit("tokens", task.tokens);
  visit("fraction", task.fraction);
  visit("train_loss", task.train_loss);
  visit("validation_loss", task.validation_loss);
  visit("validation_accuracy", task.validation_accuracy);
  visit("lr", task.lr);
  visit("gradient_norm", task.gradient_norm);
  visit("tokens_per_s", task.tokens_per_s);
  visit("flops_per_s", task.flops_per_s);
  visit("seconds", task.seconds);
  visit("labelled", task.labelled);
  visit("label_total", task.label_total);
  visit("label_cost", task.label_cost);
  visit("started", task.started);
  visit("heard", task.heard);
  visit("fraction_before", task.fraction_before);
  visit("paced_at", task.paced_at);
  visit("paced_fraction", task.paced_fraction);
  visit("rank_seconds", task.rank_seconds);
  visit("counted", task.counted);
}

TaskStatus status_of(const std::string& text) {
  const auto found = std::ranges::find_if(kStatuses, [&](TaskStatus s) { return text == to_text(s); });
  if (found == kStatuses.end())
    throw DataError("unknown-task-state", "a task's state is \"" + text + "\", which this version does not know");
  return *found;
}

}  // namespace

const char* to_text(TaskStatus status) {
  constexpr std::array kTexts = {"waiting", "ready",   "labelling", "running", "paused",
                                 "retry",   "stopped", "done",      "failed",  "skipped"};
  static_assert(kTexts.size() == kStatuses.size());
  return kTexts[static_cast<std::size_t>(status)];
}

std::string category_of(const std::string& task) {
  const std::size_t first = task.find('/');
  if (first == std::string::npos) return "";
  return task.substr(first + 1, task.find('/', first + 1) - first - 1);
}

void RunState::apply(const json& event) {
  if (!event.is_object()) return;
  const std::string what = text_field(event, "event");
  const double at = number_field(event, "at");
  if (what == "run") {
    begin(event);
  } else if (what == "rank") {
    const auto rank = static_cast<int>(integer_field(event, "rank"));
    auto found = std::ranges::find(ranks_, rank, &RankState::rank);
    if (found == ranks_.end()) found = ranks_.insert(ranks_.end(), RankState{rank, "", "", kUnknown});
    found->heard = at;
    found->doing = text_field(event, "doing");
    if (const std::string host = text_field(event, "host"); !host.empty()) found->host = host;
  } else if (what == "finish") {
    finished_ = true;
    ended_ = at;
    exit_code_ = static_cast<int>(integer_field(event, "code", 0));
    for (TaskState& task : tasks_) {
      count_time(task, at);
      if (active(task.status) || task.status == TaskStatus::paused || task.status == TaskStatus::retry)
        task.status = TaskStatus::stopped;
      task.ranks.clear();
    }
  } else if (const auto found = by_id_.find(text_field(event, "task")); found != by_id_.end()) {
    TaskState& task = tasks_[found->second];
    if (what == "start") {
      count_time(task, at);
      task.status = TaskStatus::running;
      task.started = at;
      task.counted = at;
      task.ranks = ranks_of(event, {});
      task.paced_at = kUnknown;
      task.message.clear();
      if (++task.starts == 1) task.fraction_before = task.fraction;
    } else if (what == "progress") {
      progress(task, event, at);
    } else if (what == "label") {
      if (open(task.status)) task.status = TaskStatus::labelling;
      if (std::isnan(task.started)) task.started = at;
      task.heard = at;
      task.labelled = integer_field(event, "labelled", task.labelled);
      task.label_total = integer_field(event, "total", task.label_total);
      task.label_cost = number_field(event, "cost", task.label_cost);
      if (task.label_total > 0)
        task.fraction = std::clamp(static_cast<double>(task.labelled) / static_cast<double>(task.label_total), 0.0, 1.0);
    } else if (what == "end") {
      end(task, event, at);
    }
  }
}

void RunState::begin(const json& event) {
  std::map<std::string, TaskState> before;
  for (TaskState& task : tasks_) before[task.id] = std::move(task);
  name_ = text_field(event, "name");
  began_ = number_field(event, "at");
  finished_ = false;
  ended_ = kUnknown;
  exit_code_ = 0;
  tasks_.clear();
  ranks_.clear();
  for (const json& entry : list_field(event, "ranks"))
    ranks_.push_back({static_cast<int>(integer_field(entry, "rank")), text_field(entry, "host"), "", kUnknown});
  for (const json& entry : list_field(event, "tasks")) {
    TaskState task;
    task.id = text_field(entry, "id");
    const bool done = flag_field(entry, "done");
    if (const auto found = before.find(task.id); done && found != before.end()) task = found->second;
    task.cost = number_field(entry, "cost", 1);
    task.external = flag_field(entry, "elsewhere");
    task.inputs.clear();
    task.ranks.clear();
    task.message.clear();
    for (const json& input : list_field(entry, "inputs")) {
      if (input.is_string()) task.inputs.push_back(input);
    }
    task.status = done ? TaskStatus::done : TaskStatus::waiting;
    task.fraction = task.fraction_before = done ? 1 : 0;
    task.starts = 0;
    task.rank_seconds = 0;
    task.counted = task.started = task.paced_at = kUnknown;
    tasks_.push_back(std::move(task));
  }
  index();
  for (const TaskState& task : tasks_) make_ready(task, began_);
}

void RunState::progress(TaskState& task, const json& event, double at) {
  if (task.status != TaskStatus::running) return;  // the event came late
  if (std::vector<int> ranks = ranks_of(event, task.ranks); ranks != task.ranks) {
    count_time(task, at);
    task.ranks = std::move(ranks);
    task.paced_at = kUnknown;
  }
  task.heard = at;
  task.step = integer_field(event, "step", task.step);
  task.steps_max = integer_field(event, "steps_max", task.steps_max);
  task.tokens = integer_field(event, "tokens", task.tokens);
  task.train_loss = number_field(event, "train_loss", task.train_loss);
  task.validation_loss = number_field(event, "validation_loss", task.validation_loss);
  task.validation_accuracy = number_field(event, "validation_accuracy", task.validation_accuracy);
  task.lr = number_field(event, "lr", task.lr);
  task.gradient_norm = number_field(event, "gradient_norm", task.gradient_norm);
  task.tokens_per_s = number_field(event, "tokens_per_s", task.tokens_per_s);
  task.flops_per_s = number_field(event, "flops_per_s", task.flops_per_s);
  task.seconds = number_field(event, "seconds", task.seconds);
  const bool first = task.fraction <= task.fraction_before && task.starts == 1;
  task.fraction = std::clamp(number_field(event, "fraction", task.fraction), 0.0, 1.0);
  // A resumed task had this share done before the present start.
  if (const double before = task.seconds - (at - task.started); first && before > 1 && task.seconds > 0)
    task.fraction_before = task.fraction * std::min(1.0, before / task.seconds);
  if (std::isnan(task.paced_at)) {
    task.paced_at = at;
    task.paced_fraction = task.fraction;
  }
}

void RunState::end(TaskState& task, const json& event, double at) {
  count_time(task, at);
  const std::string outcome = text_field(event, "outcome");
  task.ranks.clear();
  task.message = text_field(event, "message");
  if (outcome == "done") {
    task.status = TaskStatus::done;
    task.fraction = 1;
    task.message.clear();
    make_ready(task, at);
  } else if (outcome == "failed") {
    task.status = TaskStatus::failed;
    skip_dependents(task);
  } else {
    task.status = outcome == "paused" ? TaskStatus::paused : outcome == "retry" ? TaskStatus::retry : TaskStatus::stopped;
  }
}

void RunState::count_time(TaskState& task, double at) const {
  if (task.status != TaskStatus::running || std::isnan(task.counted)) return;
  task.rank_seconds += std::max(0.0, at - task.counted) * static_cast<double>(std::max<std::size_t>(1, task.ranks.size()));
  task.counted = at;
}

void RunState::index() {
  by_id_.clear();
  dependents_.clear();
  for (std::size_t i = 0; i < tasks_.size(); ++i) {
    by_id_[tasks_[i].id] = i;
    for (const std::string& input : tasks_[i].inputs) dependents_[input].push_back(i);
  }
}

void RunState::make_ready(const TaskState& task, double at) {
  const auto look = [&](TaskState& other) {
    const auto done = [&](const std::string& input) {
      const auto found = by_id_.find(input);
      return found == by_id_.end() || tasks_[found->second].status == TaskStatus::done;
    };
    if (other.status != TaskStatus::waiting || !std::ranges::all_of(other.inputs, done)) return;
    other.status = other.external ? TaskStatus::labelling : TaskStatus::ready;
    if (other.external) other.started = at;
  };
  look(tasks_[by_id_.at(task.id)]);
  if (task.status != TaskStatus::done) return;
  if (const auto found = dependents_.find(task.id); found != dependents_.end()) {
    for (const std::size_t i : found->second) look(tasks_[i]);
  }
}

void RunState::skip_dependents(const TaskState& task) {
  std::vector<std::string> from = {task.id};
  while (!from.empty()) {
    const auto found = dependents_.find(from.back());
    from.pop_back();
    if (found == dependents_.end()) continue;
    for (const std::size_t i : found->second) {
      if (tasks_[i].status != TaskStatus::waiting) continue;
      tasks_[i].status = TaskStatus::skipped;
      from.push_back(tasks_[i].id);
    }
  }
}

std::array<std::int64_t, kStatuses.size()> RunState::counts() const {
  std::array<std::int64_t, kStatuses.size()> counts{};
  for (const TaskState& task : tasks_) ++counts[static_cast<std::size_t>(task.status)];
  return counts;
}

double RunState::elapsed(double now) const { return std::max(0.0, (finished_ ? ended_ : now) - began_); }

double RunState::done_share() const {
  double all = 0, done = 0;
  for (const TaskState& task : tasks_) {
    all += task.cost;
    done += task.cost * task.fraction;
  }
  return all > 0 ? done / all : 1;
}

double RunState::seconds_per_cost(double now) const {
  double seconds = 0, cost = 0;
  for (const TaskState& task : tasks_) {
    if (task.starts == 0) continue;
    seconds += task.rank_seconds;
    if (task.status == TaskStatus::running && !std::isnan(task.counted))
      seconds += std::max(0.0, now - task.counted) * static_cast<double>(std::max<std::size_t>(1, task.ranks.size()));
    cost += task.cost * std::max(0.0, task.fraction - task.fraction_before);
  }
  return cost > 0 ? seconds / cost : kUnknown;
}

double RunState::task_eta(const TaskState& task, double now) const {
  if (!active(task.status)) return kUnknown;
  const double left = 1 - task.fraction;
  double eta = kUnknown;
  if (task.status == TaskStatus::labelling) {
    if (task.fraction > 0 && task.heard > task.started) eta = (task.heard - task.started) / task.fraction * left;
  } else if (task.heard - task.paced_at >= kPaceS && task.fraction > task.paced_fraction) {
    eta = (task.heard - task.paced_at) / (task.fraction - task.paced_fraction) * left;
  } else if (task.fraction > 0 && task.seconds > 0) {
    eta = task.seconds / task.fraction * left;
  } else {
    const double each =
        seconds_per_cost(now) * task.cost * left / static_cast<double>(std::max<std::size_t>(1, task.ranks.size()));
    return std::isnan(each) ? kUnknown : std::max(0.0, each - (now - task.started));
  }
  return std::max(0.0, eta - (now - task.heard));
}

double RunState::run_eta(double now) const {
  if (finished_) return 0;
  const double each = seconds_per_cost(now);
  double work = 0;
  std::map<std::string, double> chain;  // seconds until a task is done if there are enough ranks
  double longest = 0;
  for (const TaskState& task : tasks_) {
    if (!open(task.status)) continue;
    double own = task_eta(task, now);
    if (std::isnan(own)) own = each * task.cost * (1 - task.fraction);
    if (std::isnan(own)) return kUnknown;
    if (!task.external) work += own * static_cast<double>(std::max<std::size_t>(1, task.ranks.size()));
    double before = 0;
    for (const std::string& input : task.inputs) {
      if (const auto found = chain.find(input); found != chain.end()) before = std::max(before, found->second);
    }
    chain[task.id] = before + own;
    longest = std::max(longest, before + own);
  }
  return std::max(longest, work / static_cast<double>(std::max<std::size_t>(1, ranks_.size())));
}

double RunState::mfu(const TaskState& task) const {
  if (peak_ <= 0 || task.ranks.empty() || task.status != TaskStatus::running) return kUnknown;
  return task.flops_per_s / (peak_ * static_cast<double>(task.ranks.size()));
}

double RunState::silence(const RankState& rank, double now) {
  return std::isnan(rank.heard) ? kUnknown : std::max(0.0, now - rank.heard);
}

json RunState::to_json() const {
  json tasks = json::array(), ranks = json::array();
  for (const TaskState& task : tasks_) {
    json entry = {{"id", task.id}, {"state", to_text(task.status)}, {"inputs", task.inputs}};
    if (task.external) entry["elsewhere"] = true;
    if (!task.ranks.empty()) entry["ranks"] = task.ranks;
    if (!task.message.empty()) entry["message"] = task.message;
    each_number(task, [&](const char* key, const auto& value) { put(entry, key, value); });
    put(entry, "mfu", mfu(task));
    tasks.push_back(std::move(entry));
  }
  for (const RankState& rank : ranks_) {
    json entry = {{"rank", rank.rank}, {"host", rank.host}, {"doing", rank.doing}};
    put(entry, "heard", rank.heard);
    ranks.push_back(std::move(entry));
  }
  json all = {{"name", name_}, {"finished", finished_}, {"exit_code", exit_code_}, {"ranks", ranks}, {"tasks", tasks}};
  put(all, "began", began_);
  put(all, "ended", ended_);
  put(all, "peak_flops_per_s", peak_);
  return all;
}

RunState RunState::from_json(const json& all) {
  if (!field(all, "tasks") || !field(all, "ranks"))
    throw DataError("incomplete-run-state", "not the state of a run: \"tasks\" or \"ranks\" is missing");
  RunState state;
  state.name_ = text_field(all, "name");
  state.finished_ = flag_field(all, "finished");
  state.exit_code_ = static_cast<int>(integer_field(all, "exit_code", 0));
  state.began_ = number_field(all, "began");
  state.ended_ = number_field(all, "ended");
  state.peak_ = number_field(all, "peak_flops_per_s", 0);
  for (const json& entry : list_field(all, "ranks")) {
    state.ranks_.push_back({static_cast<int>(integer_field(entry, "rank")), text_field(entry, "host"), text_field(entry, "doing"),
                            number_field(entry, "heard")});
  }
  for (const json& entry : list_field(all, "tasks")) {
    TaskState task;
    task.id = text_field(entry, "id");
    task.status = status_of(text_field(entry, "state"));
    task.message = text_field(entry, "message");
    task.external = flag_field(entry, "elsewhere");
    for (const json& input : list_field(entry, "inputs"))
      task.inputs.push_back(input.is_string() ? input.get<std::string>() : "");
    for (const json& rank : list_field(entry, "ranks")) task.ranks.push_back(rank.is_number_integer() ? rank.get<int>() : -1);
    each_number(task, [&](const char* key, auto& value) {
      if constexpr (std::is_same_v<std::decay_t<decltype(value)>, double>)
        value = number_field(entry, key, value);
      else
        value = integer_field(entry, key, value);
    });
    state.tasks_.push_back(std::move(task));
  }
  state.index();
  return state;
}

}  // namespace dmoerm::watch
