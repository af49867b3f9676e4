// The engine scores texts of many requests at a time: a bounded queue in which clients take turns, and one thread that computes.
// A score has the bits that `dmoerm score` gives the text, whatever is computed beside it.
#pragma once
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "moe/bundle.h"
#include "serve/clock.h"

namespace dmoerm::serve {

/// A prompt with its responses, for one bundle.
struct Work {
  std::shared_ptr<const moe::Bundle> bundle;
  moe::TokenTexts texts;
  std::string category;  ///< Name of the category whose model scores; "" = route
};

/// What a request asks of the engine.
struct Ask {
  std::vector<Work> works;     ///< At least one
  std::string client;          ///< Clients take turns
  Clock::time_point deadline;  ///< Works that cannot be scored until then are dropped before they cost anything
};

enum class End : std::uint8_t { scored, expired, cancelled, stopped, failed };

struct Outcome {
  End end = End::scored;
  std::vector<moe::GroupScore> groups{};  ///< One for each work
  std::string problem{};                  ///< End::failed: what went wrong
  double queue_s = 0, compute_s = 0;      ///< Waiting for the first batch, and from there to the last score
  double busy_s = 0;                      ///< Time of the batches that it had a part in
};

struct EngineOptions {
  std::int64_t batch_tokens = 0;  ///< Tokens of one batch; 0: those of the bundle's passes
  double batch_wait_s = 0.002;    ///< Longest time that the first request waits for others to fill a batch
  std::int64_t queue_tokens_max = 1 << 18, queue_texts_max = 4096;
  double queue_s_max = 0;  ///< Longest time that a request is let wait for those before it; 0: its deadline
  int threads = 1;         ///< Threads that compute
};

/// One batch, for metrics.
struct BatchFacts {
  std::int64_t requests = 0, prompts = 0, texts = 0, tokens = 0, shared = 0;  ///< shared: works that joined another's prompt
  double seconds = 0;
};

class Engine {
 public:
  using Done = std::function<void(Outcome outcome)>;
  using Score = std::function<std::vector<moe::GroupScore>(const moe::Bundle& bundle, std::span<const moe::ScoreCall> calls)>;
  using OnBatch = std::function<void(const BatchFacts& batch)>;
  using Ticket = std::uint64_t;

  /// @param score  computes a batch; default: the bundle's model
  explicit Engine(const EngineOptions& options, OnBatch on_batch = {}, Score score = {});
  ~Engine();  ///< as stop()
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  enum class Refused : std::uint8_t { no, full, deadline, stopped };
  struct Admission {
    Ticket ticket = 0;
    double retry_after_s = 0;  ///< above 0: refused
    Refused refused = Refused::no;
    double queue_s = 0, own_s = 0;  ///< About how long what waits takes, and this request alone; 0 before the first batch
    double done_s = 0;              ///< About how long its scores would take with what waits; 0 if nothing waits
  };
  /// Queue a request. `done` is called once, by any thread, and must not wait.
  /// @return the ticket; or seconds after which to try again, if the queue is full or the deadline would pass. Then `done` is not
  ///         called
  Admission submit(Ask ask, Done done);
  /// Take no more requests, and end those that are left as stopped.
  void stop();
  /// Forget a request. `done` is called unless it was called before.
  void cancel(Ticket ticket);

  /// Whether the queue has no room at all, so that a request need not even be read.
  [[nodiscard]] bool full() const;
  /// Seconds after which to try again if it is full.
  [[nodiscard]] double retry_after_s() const;

  struct State {
    std::int64_t requests = 0, texts = 0, tokens = 0;  ///< In the queue
    double tokens_per_s = 0;                           ///< Recent speed; 0 before the first batch
    double oldest_s = 0;                               ///< How long the oldest of them waits
  };
  [[nodiscard]] State state() const;
  /// Tokens that a work makes the model read at least once.
  static std::int64_t tokens_of(const Work& work);

 private:
  struct Request {
    Ticket ticket = 0;
    Ask ask;
    Done done;
    Clock::time_point came = Clock::now(), begun{};
    std::vector<moe::GroupScore> groups;
    std::size_t left = 0;          ///< Items without a score
    std::int64_t tokens_left = 0;  ///< Those of these items
    std::uint64_t place = 0;       ///< Of the first long request of a client, among those of all clients
    bool stands_back = false;      ///< Long, while others are finished before it
    double busy_s = 0;             ///< Time of the batches that it had a part in
    bool ended = false;
  };
  /// Some responses of a work: as many as a batch holds, so that a long request does not hold up the others.
  struct Item {
    std::shared_ptr<Request> request;
    std::size_t work = 0, first = 0, count = 0;
    std::int64_t tokens = 0, shared_tokens = 0;  ///< shared: of the prompt, once for all that have it
    std::uint64_t prompt = 0;                    ///< Hash of bundle, category and prompt
  };
  using Queue = std::list<Item>;
  /// Items that share a prompt.
  struct Shared {
    std::vector<Item> items;
    moe::TokenTexts texts;
  };
  struct Ended {
    std::shared_ptr<Request> request;
    Outcome outcome;
  };

  [[nodiscard]] std::int64_t budget_of(const Work& work) const;
  std::size_t add_items(const std::shared_ptr<Request>& request, std::size_t work);
  void compute_loop();
  void expire_loop();
  [[nodiscard]] std::vector<Shared> next_batch(std::unique_lock<std::mutex>& lock);
  [[nodiscard]] std::vector<Shared> pick(std::int64_t budget);
  /// A batch that is being filled.
  struct Filling {
    std::int64_t budget = 0, tokens = 0;
    std::vector<Shared> batch{};
  };
  void fill(Filling& filling, bool with_those_that_stand_back);
  [[nodiscard]] bool is_long(const Request& request) const;
  void choose_long_ones();
  [[nodiscard]] std::int64_t join(Shared& shared, std::int64_t budget, std::int64_t tokens);
  void take(Queue& queue, Queue::iterator item);
  void compute(std::vector<Shared> batch);
  std::vector<std::optional<moe::GroupScore>> score_each(const moe::Bundle& bundle, const std::vector<moe::ScoreCall>& calls,
                                                         std::vector<std::string>& problems) const;
  void settle(const Item& item, std::optional<moe::GroupScore> score, const std::string& problem, std::vector<Ended>& ended);
  void end(const std::shared_ptr<Request>& request, Outcome outcome, std::vector<Ended>& ended);
  void remove_items_of(const Request& request);
  [[nodiscard]] double seconds_for(std::int64_t tokens) const;
  static void tell(std::vector<Ended>& ended);

  const EngineOptions options_;
  const OnBatch on_batch_;
  const Score score_;
  mutable std::mutex mutex_;
  std::condition_variable more_, expire_;
  std::map<std::string, Queue> queues_;  ///< By client; none is empty
  std::string last_client_;              ///< Whose turn was the last
  std::map<Ticket, std::shared_ptr<Request>> requests_;
  Ticket tickets_ = 0;
  std::uint64_t places_ = 0;
  std::int64_t tokens_ = 0, texts_ = 0, computing_ = 0;  ///< Queued tokens and texts, and tokens of the batch under way
  double tokens_per_s_ = 0;
  bool ends_ = false;
  std::thread computer_, expirer_;
};

}  // namespace dmoerm::serve
