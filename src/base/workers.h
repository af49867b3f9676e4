// Threads that do jobs side by side, and queues that hand the results of pieces of work back in the order of the pieces.
#pragma once
#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace dmoerm {

/// Number of processors that this process may use.
int processors();

/// Some threads that do jobs in the order in which they come.
class Workers {
 public:
  /// @param what  a thread of these, for messages: "a thread that reads requests"
  /// @param least  so many are enough if the system does not give all. With no thread, jobs are not done.
  /// @throws Error if it gives fewer
  Workers(int threads, const char* what, int least = 1);
  /// Does the jobs that are left.
  ~Workers();
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;
  /// Have a job done. It must not throw.
  void post(std::function<void()> job);
  /// The same, before all jobs that were given to post().
  void post_first(std::function<void()> job);

 private:
  using Jobs = std::deque<std::function<void()>>;
  void add(Jobs& jobs, std::function<void()> job);
  void loop();
  void end();
  std::mutex mutex_;
  std::condition_variable more_;
  Jobs jobs_, first_;
  bool ends_ = false;
  std::vector<std::thread> threads_;
};

/// Results of pieces of work, in the order in which the pieces were given. One thread gives and takes.
template <class Result>
class InOrder {
 public:
  /// @param ahead  most pieces that are given and not taken yet, see full()
  InOrder(Workers& workers, std::size_t ahead) : workers_(workers), ahead_(ahead) {}
  /// Waits for the pieces that have begun and drops the others.
  ~InOrder() {
    for (const auto& piece : pieces_) {
      if (piece->taken.exchange(true)) piece->result.wait();
    }
  }
  InOrder(const InOrder&) = delete;
  InOrder& operator=(const InOrder&) = delete;

  /// @param work  called once, without arguments, on any thread
  template <class Work>
  void give(Work&& work) {
    auto piece = std::make_shared<Piece>(std::forward<Work>(work));
    pieces_.push_back(piece);
    workers_.post([piece] {
      if (!piece->taken.exchange(true)) piece->work();
    });
  }
  [[nodiscard]] bool empty() const { return pieces_.empty(); }
  [[nodiscard]] bool full() const { return pieces_.size() >= ahead_; }
  /// The result of the oldest piece. If no thread has begun it, this one does it. Throws what the piece threw.
  Result take() {
    const std::shared_ptr<Piece> piece = std::move(pieces_.front());
    pieces_.pop_front();
    if (!piece->taken.exchange(true)) piece->work();
    return piece->result.get();
  }

 private:
  struct Piece {
    template <class Work>
    explicit Piece(Work&& todo) : work(std::forward<Work>(todo)), result(work.get_future()) {}
    std::packaged_task<Result()> work;
    std::future<Result> result;
    std::atomic<bool> taken = false;
  };
  Workers& workers_;
  std::size_t ahead_;
  std::deque<std::shared_ptr<Piece>> pieces_;
};

}  // namespace dmoerm
