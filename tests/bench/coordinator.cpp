// The coordinator with simulated workers in one process: time it takes for a message, from having received it until it asks for
// the next, all answers sent. Usage: bench_coordinator WORKERS CATEGORIES
#include "run/coordinator.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <deque>
#include <map>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/rng.h"

namespace {

using namespace dmoerm;
using nlohmann::json;
using Clock = std::chrono::steady_clock;

/// Workers that answer at once: a few progress messages, then the end, of some a failure, and idle ranks.
class SimulatedWorld final : public comm::World {
 public:
  explicit SimulatedWorld(int size) : size_(size) {
    for (int rank = 0; rank < size; ++rank) say(run::Idle{rank});
  }
  [[nodiscard]] int rank() const override { return 0; }
  [[nodiscard]] int size() const override { return size_; }
  [[nodiscard]] std::string host() const override { return "simulated"; }
  comm::Communicator& all() override { std::abort(); }
  std::unique_ptr<comm::Communicator> make_group(const std::vector<int>&, int) override { std::abort(); }
  bool send_beat(int, const std::string&) override { return true; }
  std::vector<comm::ControlMessage> receive_beats() override { return {}; }
  [[noreturn]] void abort(int code) override { std::_Exit(code); }

  void send_control(int rank, bool, const std::string& text) override {
    const run::ToRank message = run::decode_to_rank(text);
    const auto* order = std::get_if<run::RunOrder>(&message);
    if (order == nullptr || rank != order->ranks.front()) return;  // the group's first rank speaks for it
    const std::string& task = order->task;
    const double from = done_[task];
    const run::TaskOutcome outcome = rng_.uniform() < 0.02 ? run::TaskOutcome::failed : run::TaskOutcome::done;
    for (int i = 0; i < kProgress; ++i) {
      done_[task] = from + (1 - from) * i / kProgress;
      say(run::Progress{task,
                        {{"ranks", order->ranks.size()},
                         {"step", i},
                         {"steps_max", kProgress},
                         {"fraction", done_[task]},
                         {"train_loss", 0.5},
                         {"validation_accuracy", 0.7},
                         {"tokens", 1000 * i},
                         {"tokens_per_s", 5000.0}}});
    }
    say(run::Ended{.task = task, .tag = order->tag, .outcome = outcome});
    for (const int member : order->ranks) say(run::Idle{member});
  }

  std::optional<comm::ControlMessage> receive_control(bool, int) override {
    const auto now = Clock::now();
    if (received_ != Clock::time_point{}) spent_us.push_back(std::chrono::duration<double, std::micro>(now - received_).count());
    if (messages_.empty()) std::abort();  // nobody will say anything any more
    comm::ControlMessage message{0, std::move(messages_.front())};
    messages_.pop_front();
    received_ = Clock::now();
    return message;
  }

  std::vector<double> spent_us;

 private:
  static constexpr int kProgress = 8;
  void say(const run::ToCoordinator& message) { messages_.push_back(run::encode(message)); }
  int size_;
  std::deque<std::string> messages_;
  std::map<std::string, double> done_;
  Rng rng_{17, "coordinator"};
  Clock::time_point received_;
};

}  // namespace

int main(int argc, char** argv) {
  const int workers = argc > 1 ? std::atoi(argv[1]) : 1000, categories = argc > 2 ? std::atoi(argv[2]) : 400;
  plan::TaskGraph graph;
  for (int c = 0; c < categories; ++c) {
    plan::Task base;
    base.id = fmt::format("base/c{}", c), base.cost = 300 + c % 50, base.ranks_max = 8;
    graph.add(base);
    plan::Task aggregator;
    aggregator.id = fmt::format("aggregator/c{}", c), aggregator.cost = 5;
    for (int k = 0; k < 5; ++k) {
      plan::Task expert;
      expert.id = fmt::format("expert/c{}/p{}", c, k), expert.cost = 100 + 7 * k, expert.ranks_max = 8;
      expert.inputs = {base.id}, expert.base = base.id;
      graph.add(expert);
      aggregator.inputs.push_back(expert.id);
    }
    graph.add(aggregator);
  }
  SimulatedWorld world(workers);
  plan::DispatcherOptions options;
  options.cluster = plan::even_cluster((workers + 7) / 8, 8, 0);
  options.cluster.resize(static_cast<std::size_t>(workers));
  options.retries = 1, options.regroup = true;
  std::size_t events = 0;
  run::TaskBoard board({});
  run::Coordinator(
      world, graph, {}, options, [&](const json&) { ++events; }, board)
      .run();
  std::vector<double>& spent = world.spent_us;
  std::ranges::sort(spent);
  double sum = 0;
  for (const double us : spent) sum += us;
  const auto at = [&](double share) { return spent[static_cast<std::size_t>(share * static_cast<double>(spent.size() - 1))]; };
  fmt::print("{}\n", json{{"name", "coordinator"},
                          {"unit", "microseconds of its time per message"},
                          {"workers", workers},
                          {"tasks", graph.tasks().size()},
                          {"messages", spent.size()},
                          {"events", events},
                          {"mean", sum / static_cast<double>(spent.size())},
                          {"median", at(0.5)},
                          {"p99", at(0.99)},
                          {"largest", spent.back()}}
                         .dump());
}
