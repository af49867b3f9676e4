// Several processes behind one address: a front that speaks HTTP, and ranks that score, each with the bundles on a device of its
// own. A request goes to the rank with the least to do. If a rank dies, others do its work, and a new one takes its place. If it
// hangs, the requests that it has are refused at their deadline, and it is killed.
#pragma once
#include <sys/types.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/workers.h"
#include "serve/clock.h"
#include "serve/frames.h"
#include "serve/http_server.h"

namespace dmoerm::serve {

/// The value of CUDA_VISIBLE_DEVICES that shows a rank its own GPU; with fewer GPUs than ranks they share them.
/// @param visible  what it is for the front; null = not set
/// @param gpus  how many the front sees
std::string gpu_of_rank(int rank, const char* visible, int gpus);

class Ranks {
 public:
  /// Told of each answer before its client gets it.
  /// @param rank  whose it is; -1 = made here
  /// @param seconds  since the request came
  using OnAnswer = std::function<void(const HttpRequest& request, const HttpAnswer& answer, int rank, double seconds)>;
  /// Makes one answer of those of the ranks, of which there may be none.
  using Join = std::function<HttpAnswer(std::map<int, HttpAnswer> answers)>;

  /// Start the ranks and wait until each has its bundles.
  /// @param command  program and arguments of a rank, to which "--rank-socket N --rank-number N" are added
  /// @param deadline_s  longest time for an answer
  /// @throws Error if a rank ends before it is ready; it has said why. Also if the system gives no process, socket or thread for
  ///         one; then those that began end first
  Ranks(std::vector<std::string> command, int count, OnAnswer on_answer, double deadline_s);
  /// Lets the ranks end.
  ~Ranks();
  Ranks(const Ranks&) = delete;
  Ranks& operator=(const Ranks&) = delete;

  /// Have a request answered by a rank; with 503 if none is ready.
  void handle(std::shared_ptr<Exchange> exchange);
  /// Ask all ranks that are ready, and answer with what `join` makes of it.
  void ask_all(std::shared_ptr<Exchange> exchange, Join join);
  /// Whether there is a rank that takes requests.
  [[nodiscard]] bool ready() const;
  /// 503 for a request that comes while none does.
  static HttpAnswer not_ready(const HttpRequest& request);
  /// Have all ranks read their bundles again.
  void reload();
  /// Answer what still waits with 503.
  void abandon();
  [[nodiscard]] std::int64_t restarts() const { return restarts_; }

 private:
  struct Request {
    std::shared_ptr<Exchange> exchange;
    int rank = -1, tries = 0;
    std::function<void(int rank, HttpAnswer answer)> done{};  ///< Instead of the exchange's answer
    [[nodiscard]] Clock::time_point came() const { return exchange->request.came; }
  };
  struct Rank {
    pid_t process = 0;
    int socket = -1;
    bool ready = false;
    bool came = false;                          ///< Whether it has its bundles, which may be others than those of the rest
    std::string loaded{};                       ///< Which, see Bundles::digests()
    std::size_t waiting = 0;                    ///< Requests without an answer
    std::optional<Clock::time_point> silent{};  ///< Since when it says nothing although it has requests
    std::unique_ptr<Workers> writer;            ///< Writes frames in order, so that nobody waits for a rank that does not read
    std::thread reader;
  };
  void start(int rank);
  bool start_again(int rank);
  void end();
  void read_answers(int rank);
  void give(std::uint64_t number, int rank);
  void lose(int rank, bool was_ready);
  void give_up(const Request& request, int rank);
  void deliver(const Request& request, int rank, HttpAnswer answer);
  [[nodiscard]] int idlest() const;
  void use_alike();
  void use(int rank);
  void watch();

  const std::vector<std::string> command_;
  const OnAnswer on_answer_;
  const double deadline_s_;
  std::vector<Rank> ranks_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::uint64_t, Request> requests_;
  std::uint64_t numbers_ = 0;
  std::atomic<std::int64_t> restarts_{0};
  bool started_ = false, ends_ = false, failed_ = false;
  std::string asked_alike_;  ///< What two ranks had when all were last asked to read their bundles again
  std::thread watcher_;
};

}  // namespace dmoerm::serve
