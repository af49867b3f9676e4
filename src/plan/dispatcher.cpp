#include "plan/dispatcher.h"

#include <algorithm>
#include <limits>
#include <queue>

#include "base/error.h"
#include "plan/schedule_search.h"

namespace dmoerm::plan {
namespace {

constexpr double kSearchEffort = 4e5;  // some milliseconds at most
constexpr std::size_t kOpenMax = 200;  // more open tasks are placed by rule

}  // namespace

Dispatcher::Dispatcher(const TaskGraph& graph, const std::set<std::string>& done, DispatcherOptions options)
    : graph_(graph), options_(std::move(options)), done_(done) {
  const std::size_t n = graph.tasks().size();
  base_.resize(n, -1);
  state_.resize(n, State::waiting);
  critical_path_ = graph.chain_costs();
  sizes_.resize(n);
  inputs_left_.resize(n);
  attempts_.resize(n);
  dependents_.resize(n);
  std::map<std::string, int> bases;
  for (std::size_t i = 0; i < n; ++i) {
    const Task& task = graph.tasks()[i];
    cost_left_.push_back(task.cost);
    critical_path_[i] -= task.cost;
    if (!task.base.empty()) base_[i] = bases.emplace(task.base, static_cast<int>(bases.size())).first->second;
    for (const std::size_t input : graph.inputs(i)) {
      dependents_[input].push_back(i);
      if (!done_.contains(graph.tasks()[input].id)) ++inputs_left_[i];
    }
    if (!task.external && !options_.cluster.empty() && !done_.contains(task.id)) check_fits(task, options_.cluster);
  }
  ranks_.resize(options_.cluster.size());
  expected_ = static_cast<int>(ranks_.size());
  for (std::size_t i = 0; i < n; ++i) {
    if (done_.contains(graph.tasks()[i].id)) {
      state_[i] = State::done;
    } else if (graph.tasks()[i].external) {
      if (inputs_left_[i] == 0) make_ready(i);
    } else {
      ++open_;
      if (inputs_left_[i] == 0) make_ready(i);
    }
  }
}

void Dispatcher::make_ready(std::size_t task) {
  if (graph_.tasks()[task].external) {
    state_[task] = State::running, ++external_;
    return;
  }
  state_[task] = State::ready;
  ready_.insert({-priority(task), task});
  planned_.reset();
}

/// From now on its ranks are expected to report, and they are known to hold its base.
void Dispatcher::end(std::size_t task, State state) {
  if (graph_.tasks()[task].external) {
    external_ -= state_[task] == State::running ? 1 : 0;
  } else if (const auto running = running_.find(task); running != running_.end()) {
    for (const int r : running->second.ranks) {
      Rank& rank = ranks_[static_cast<std::size_t>(r)];
      if (rank.state != RankState::busy || rank.task != task) continue;  // it has reported already
      rank.state = RankState::expected, ++expected_;
    }
    running_.erase(running);
  }
  state_[task] = state;
  planned_.reset();
  regroup_due_ = true;
  if (state != State::done) return;
  done_.insert(graph_.tasks()[task].id);
  for (const std::size_t dependent : dependents_[task]) {
    if (--inputs_left_[dependent] == 0 && state_[dependent] == State::waiting) make_ready(dependent);
  }
}

std::vector<Assignment> Dispatcher::on_idle(int rank) {
  const auto r = static_cast<std::size_t>(rank);
  if (r >= ranks_.size()) {
    ranks_.resize(r + 1);
    expected_ = static_cast<int>(std::ranges::count(ranks_, RankState::expected, &Rank::state));
    options_.cluster.resize(ranks_.size());
    planned_.reset();
  }
  if (ranks_[r].state == RankState::idle) return assign();
  if (ranks_[r].state == RankState::expected) {
    --expected_;
  } else {
    planned_.reset();  // it reports before the first of its group says that the task ended
  }
  ranks_[r].state = RankState::idle, ++idle_;
  regroup_due_ = true;
  return assign();
}

std::vector<Assignment> Dispatcher::on_done(const std::string& task, bool ok, const std::string& message) {
  end(graph_.index(task), ok ? State::done : State::failed);
  if (!ok) failed_[task] = message;
  return assign();
}

bool Dispatcher::on_failed(const std::string& task, const std::string& message, bool may_retry) {
  const std::size_t i = graph_.index(task);
  const bool again = may_retry && !stopped_ && !graph_.tasks()[i].external && attempts_[i]++ < options_.retries;
  end(i, again ? State::waiting : State::failed);
  if (again) {
    ++open_;
    make_ready(i);
  } else {
    failed_[task] = message;
  }
  return again;
}

void Dispatcher::on_progress(const std::string& task, double cost_left) {
  const std::size_t i = graph_.index(task);
  const auto running = running_.find(i);
  if (running == running_.end()) return;
  if (cost_left < cost_left_[i] && now_ > running->second.reported_at) {
    measured_cost_ += (cost_left_[i] - cost_left) / running->second.speed;
    measured_seconds_ += now_ - running->second.reported_at;
  }
  constexpr double kLeast = 1e-6;  // of the whole: it has not ended yet
  cost_left_[i] = std::max(cost_left, kLeast * graph_.tasks()[i].cost);
  running->second.reported_at = now_;
  regroup_due_ = true;
}

void Dispatcher::on_checkpoint(double mib_s) {
  if (options_.measure_checkpoints && mib_s > 0) options_.checkpoint_mib_s = mib_s;
}

double Dispatcher::pause_cost(std::size_t task) const {
  return options_.pause_cost + checkpoint_seconds(graph_.tasks()[task], options_.checkpoint_mib_s);
}

void Dispatcher::on_paused(const std::string& task) {
  const std::size_t i = graph_.index(task);
  end(i, State::waiting);
  ++open_;
  make_ready(i);
}

void Dispatcher::on_pause_refused(const std::string& task) {
  constexpr double kAskAgain = 60;
  const auto running = running_.find(graph_.index(task));
  if (running == running_.end()) return;
  running->second.named = false, running->second.more = 0;
  running->second.named_from = now_ + kAskAgain;
  regroup_due_ = true;
}

bool Dispatcher::may_be_named(std::size_t task, const Running& running) const {
  return !running.named && now_ >= running.named_from && graph_.tasks()[task].pauses;
}

void Dispatcher::on_left(const std::string& task) { end(graph_.index(task), State::left); }

void Dispatcher::on_stopped(const std::string& task) {
  end(graph_.index(task), State::left);
  stop();
}

bool Dispatcher::finished() const { return running_.empty() && external_ == 0 && (stopped_ || ready_.empty()); }

std::set<std::string> Dispatcher::skipped() const {
  std::set<std::string> skipped;
  for (std::size_t i = 0; i < state_.size(); ++i) {
    if (state_[i] != State::done && state_[i] != State::running && state_[i] != State::failed)
      skipped.insert(graph_.tasks()[i].id);
  }
  return skipped;
}

double Dispatcher::seconds_left(std::size_t task, const Running& running) const {
  constexpr double kOverdue = 0.05;  // of what it reported: it should have ended by now, so it will soon
  const double left = cost_left_[task] / running.speed;
  if (measured_cost_ <= 0) return left;
  return std::max(kOverdue * left, left - (now_ - running.reported_at) * measured_cost_ / measured_seconds_);
}

const std::vector<int>& Dispatcher::sizes_of(std::size_t task) const {
  auto& [ranks, sizes] = sizes_[task];
  if (ranks != ranks_.size()) ranks = ranks_.size(), sizes = group_sizes(graph_.tasks()[task], options_.cluster);
  return sizes;
}

bool Dispatcher::small() const { return open_ <= kOpenMax && searchable(open_, ranks_.size(), kSearchEffort); }

Problem Dispatcher::problem() const {
  Problem problem{options_.cluster, std::vector<double>(ranks_.size(), 0.0), {}, {}};
  for (const Rank& rank : ranks_) problem.holds.push_back(rank.base);
  for (const auto& [task, running] : running_) {
    const double left = seconds_left(task, running);
    for (const int r : running.ranks) {
      const Rank& rank = ranks_[static_cast<std::size_t>(r)];
      if (rank.state == RankState::busy && rank.task == task) problem.free_at[static_cast<std::size_t>(r)] = left;
    }
  }
  return problem;
}

/// Tasks that can still be done in this run, without those that wait for external tasks: nobody knows when these end.
/// @param broken_off  a running task to look at as if it were paused
std::vector<OpenTask> Dispatcher::open_tasks(std::optional<std::size_t> broken_off) const {
  std::vector<OpenTask> open;
  std::vector<int> position(state_.size(), -1);
  for (std::size_t i = 0; i < state_.size(); ++i) {
    const bool paused = broken_off == i;
    if (graph_.tasks()[i].external) continue;
    if (!paused && state_[i] != State::waiting && state_[i] != State::ready) continue;
    OpenTask task{&graph_.tasks()[i],           i, base_[i], sizes_of(i), cost_left_[i], critical_path_[i],
                  paused ? pause_cost(i) : 0.0, 0, {}};
    std::vector<int> inputs;
    bool reachable = true;
    for (const std::size_t input : graph_.inputs(i)) {
      if (state_[input] == State::done) continue;
      if (position[input] >= 0) {
        inputs.push_back(position[input]);
      } else if (const auto running = running_.find(input); running != running_.end()) {
        task.ready_at = std::max(task.ready_at, seconds_left(input, running->second));
      } else {
        reachable = false;
      }
    }
    if (!reachable) continue;
    position[i] = static_cast<int>(open.size());
    task.inputs = static_cast<int>(inputs.size());
    for (const int input : inputs) open[static_cast<std::size_t>(input)].dependents.push_back(position[i]);
    open.push_back(std::move(task));
  }
  return open;
}

std::vector<Assignment> Dispatcher::assign() {
  std::vector<Assignment> assignments;
  if (stopped_ || ready_.empty() || idle_ == 0) return assignments;
  if (!planned_) {
    Problem state = problem();
    if (small()) {
      state.open = open_tasks({});
      planned_ = search_schedule(state, kSearchEffort).placed;
      if (options_.regroup) {
        start_what_would_wait(state);
      } else {
        std::erase_if(*planned_, [](const Placed& p) { return p.start > 0; });
      }
    } else {
      constexpr std::size_t kSpare = 16;  // some more than there are ranks, to choose by base and by memory
      const auto most = static_cast<std::size_t>(idle_ + expected_) + kSpare;
      for (auto next = ready_.begin(); next != ready_.end() && (running_.empty() || state.open.size() < most); ++next) {
        const std::size_t i = next->second;
        state.open.push_back({&graph_.tasks()[i], i, base_[i], sizes_of(i), cost_left_[i], critical_path_[i], 0.0, 0, {}});
      }
      planned_ = place_by_rule(state);
    }
  }
  std::erase_if(*planned_, [&](const Placed& placed) {
    const auto is_idle = [&](int r) { return ranks_[static_cast<std::size_t>(r)].state == RankState::idle; };
    if (!std::ranges::all_of(placed.ranks, is_idle)) return false;
    const Task& task = graph_.tasks()[placed.id];
    ready_.erase({-priority(placed.id), placed.id});
    state_[placed.id] = State::running, --open_;
    for (const int r : placed.ranks) ranks_[static_cast<std::size_t>(r)] = {RankState::busy, placed.id, base_[placed.id]};
    idle_ -= static_cast<int>(placed.ranks.size());
    running_[placed.id] = {placed.ranks, speedup(task, static_cast<int>(placed.ranks.size()), placed.across_nodes), now_};
    assignments.push_back({task.id, placed.ranks, ++tag_});
    return true;
  });
  return assignments;
}

/// A schedule may leave ranks idle so that a task can have a larger group soon. Where groups can change under way, it starts on
/// the idle ranks instead and is joined by the others when they are free, unless they soon are.
void Dispatcher::start_what_would_wait(Problem& state) {
  constexpr double kSoon = 4;  // times the cost of a pause
  std::vector<std::size_t> late;
  for (const Placed& placed : *planned_) {
    const double soon = kSoon * pause_cost(placed.id);
    const bool waits = placed.start > soon && state_[placed.id] == State::ready;
    const bool joins = waits && graph_.tasks()[placed.id].pauses;
    for (const int r : placed.ranks) {
      double& free_at = state.free_at[static_cast<std::size_t>(r)];
      if ((placed.start <= soon || (waits && !joins)) && free_at <= 0) free_at = std::numeric_limits<double>::infinity();
    }
    if (joins) late.push_back(placed.id);
  }
  std::erase_if(*planned_, [](const Placed& p) { return p.start > 0; });
  if (late.empty()) return;
  std::erase_if(state.open, [&](const OpenTask& open) { return std::ranges::find(late, open.id) == late.end(); });
  for (Placed& placed : place_by_rule(state)) planned_->push_back(std::move(placed));
}

/// How late tasks end by the best schedule from here on: the last one's end, plus the mean end, because any may stop early.
double Dispatcher::value(std::optional<std::size_t> broken_off) const {
  Problem state = problem();
  double last = 0, sum = 0;
  for (const auto& [task, running] : running_) {
    const double left = seconds_left(task, running);
    if (broken_off == task) {
      for (const int r : running.ranks) state.free_at[static_cast<std::size_t>(r)] = 0;
    } else {
      last = std::max(last, left), sum += left;
    }
  }
  state.open = open_tasks(broken_off);
  const Schedule schedule = search_schedule(state, kSearchEffort);
  const auto open = static_cast<double>(schedule.placed.size()),
             others = static_cast<double>(running_.size() - (broken_off ? 1 : 0));
  return std::max(last, schedule.makespan) + (sum + schedule.mean_end * open) / (open + others);
}

/// Idle ranks double the groups that would end last; those that gain enough.
std::vector<Dispatcher::Regrouping> Dispatcher::growing() const {
  struct Wish {
    std::size_t task;
    const Running* running;
    std::vector<int> sizes;
    std::size_t size;
  };
  std::vector<Wish> wishes;
  int left = idle_;
  for (const auto& [task, running] : running_) {
    left -= running.more;
    if (!may_be_named(task, running)) continue;
    Wish wish{task, &running, sizes_of(task), 0};
    while (wish.size < wish.sizes.size() && wish.sizes[wish.size] < static_cast<int>(running.ranks.size())) ++wish.size;
    if (wish.size + 1 < wish.sizes.size()) wishes.push_back(std::move(wish));
  }
  const auto seconds = [&](const Wish& w) {
    return seconds_left(w.task, *w.running) * w.running->speed /
           best_speedup(graph_.tasks()[w.task], options_.cluster, w.sizes[w.size]);
  };
  const auto sooner = [&](std::size_t a, std::size_t b) {
    return seconds(wishes[a]) + critical_path_[wishes[a].task] < seconds(wishes[b]) + critical_path_[wishes[b].task];
  };
  std::priority_queue<std::size_t, std::vector<std::size_t>, decltype(sooner)> queue(sooner);
  for (std::size_t i = 0; i < wishes.size(); ++i) queue.push(i);
  while (left > 0 && !queue.empty()) {
    const std::size_t at = queue.top();
    Wish& wish = wishes[at];
    queue.pop();
    if (wish.size + 1 >= wish.sizes.size()) continue;
    const int more = wish.sizes[wish.size + 1] - wish.sizes[wish.size];
    if (more > left) continue;
    left -= more, ++wish.size;
    queue.push(at);
  }
  constexpr double kEnough = 0.85;  // of the time it would take as it is
  std::vector<Regrouping> tasks;
  for (const Wish& wish : wishes) {
    if (pause_cost(wish.task) + seconds(wish) < kEnough * seconds_left(wish.task, *wish.running))
      tasks.push_back({wish.task, wish.sizes[wish.size] - static_cast<int>(wish.running->ranks.size())});
  }
  return tasks;
}

/// The running task whose break would let what is ready and long start on some of its ranks, if all then ends clearly sooner.
std::vector<Dispatcher::Regrouping> Dispatcher::shrinking() const {
  constexpr double kClearly = 0.85;
  std::vector<Regrouping> tasks;
  const double longest = -ready_.begin()->first;
  double best = kClearly * value({});
  for (const auto& [task, running] : running_) {
    if (running.named) return {};  // ranks are about to be free
    if (running.ranks.size() < 2 || !may_be_named(task, running) || longest < seconds_left(task, running)) continue;
    if (const double broken = value(task); broken < best) best = broken, tasks = {{task, 0}};
  }
  return tasks;
}

std::vector<std::string> Dispatcher::to_regroup() {
  std::vector<std::string> names;
  if (!options_.regroup || stopped_ || !regroup_due_ || expected_ > 0 || running_.empty()) return names;
  regroup_due_ = false;
  std::vector<Regrouping> tasks;
  if (ready_.empty() && idle_ > 0) {
    tasks = growing();
    if (!tasks.empty() && small()) {  // ranks that are idle now may be wanted soon
      const double now = value({});
      std::erase_if(tasks, [&](const Regrouping& r) { return value(r.task) >= now; });
    }
  } else if (!ready_.empty() && idle_ == 0 && small()) {
    tasks = shrinking();
  }
  for (const auto& [task, more] : tasks) {
    running_.at(task).named = true, running_.at(task).more = more;
    names.push_back(graph_.tasks()[task].id);
  }
  return names;
}

}  // namespace dmoerm::plan
