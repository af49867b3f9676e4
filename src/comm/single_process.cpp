#include "comm/single_process.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <deque>
#include <mutex>
#include <utility>
#include <vector>

#include "base/host.h"

namespace dmoerm::comm {
namespace {

class Single final : public Communicator {
 public:
  [[nodiscard]] int rank() const override { return 0; }
  [[nodiscard]] int size() const override { return 1; }
  Pending start_tree_sum(std::span<float> /*values*/, int /*contributors*/) override { return {}; }
  Pending start_reduce_scatter(std::span<const float> values, const Bounds& /*bounds*/, int /*contributors*/,
                               std::span<float> own) override {
    if (own.data() != values.data()) std::ranges::copy(values, own.begin());
    return {};
  }
  Pending start_all_gather(std::span<float> /*values*/, const Bounds& /*bounds*/) override { return {}; }
  void broadcast(std::span<std::byte> /*bytes*/, int /*root*/) override {}
  std::vector<std::vector<std::byte>> all_gather(std::span<const std::byte> bytes) override {
    return {{bytes.begin(), bytes.end()}};
  }
  void barrier() override {}
  void limit_waits(double seconds) override { limit_s_ = seconds; }
  [[nodiscard]] double limit_s() const override { return limit_s_; }
  [[nodiscard]] bool too_long(double waited_s) const override { return waited_s > limit_s_; }
  [[nodiscard]] bool given_up() const override { return false; }
  void break_when(const std::atomic<bool>& /*given_up*/) override {}
  void use_wire(Wire /*wire*/) override {}
  [[nodiscard]] Traffic traffic() const override { return {}; }

 private:
  double limit_s_ = 600;
};

class SingleWorld final : public World {
 public:
  [[nodiscard]] int rank() const override { return 0; }
  [[nodiscard]] int size() const override { return 1; }
  [[nodiscard]] std::string host() const override { return host_name(); }
  Communicator& all() override { return *all_; }
  std::unique_ptr<Communicator> make_group(const std::vector<int>& /*ranks*/, int /*tag*/) override { return single(); }

  void send_control(int /*rank*/, bool to_coordinator, const std::string& text) override {
    const std::lock_guard lock(mutex_);
    queues_[to_coordinator ? 1 : 0].push_back({0, text});
    changed_.notify_all();
  }
  std::optional<ControlMessage> receive_control(bool as_coordinator, int timeout_ms) override {
    std::unique_lock lock(mutex_);
    auto& queue = queues_[as_coordinator ? 1 : 0];
    if (!changed_.wait_for(lock, std::chrono::milliseconds(timeout_ms), [&] { return !queue.empty(); })) return std::nullopt;
    ControlMessage message = queue.front();
    queue.pop_front();
    return message;
  }
  bool send_beat(int /*rank*/, const std::string& text) override {
    beats_.push_back({0, text});
    return true;
  }
  std::vector<ControlMessage> receive_beats() override { return std::exchange(beats_, {}); }
  [[noreturn]] void abort(int exit_code) override { std::_Exit(exit_code); }

 private:
  std::unique_ptr<Communicator> all_ = single();
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<ControlMessage> beats_;
  std::deque<ControlMessage> queues_[2];  ///< messages to the worker and to the coordinator
};

}  // namespace

std::unique_ptr<Communicator> single() { return std::make_unique<Single>(); }

std::unique_ptr<World> make_single_world() { return std::make_unique<SingleWorld>(); }

}  // namespace dmoerm::comm
