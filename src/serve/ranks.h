// Several processes behind one address: a front that speaks HTTP, and ranks that score, each with the bundles on a device of its
// own. A request goes to the rank with the least to do. If a rank dies, others do its work, and a new one takes its place.
#pragma once
#include <sys/types.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "serve/frames.h"
#include "serve/http_server.h"
#include "serve/workers.h"

namespace dmoerm::serve {

/// What a rank does: read requests from the front's socket, have them handled, and write the answers, until the front is gone.
/// @param check, handle  as those of HttpServer
/// @param reload  has the bundles read again
void serve_front(int socket, const HttpServer::Check& check, const HttpServer::Handler& handle,
                 const std::function<void()>& reload);

class Ranks {
 public:
  /// Start the ranks and wait until each has its bundles.
  /// @param command  program and arguments of a rank, to which "--rank-socket N" is added
  /// @throws Error if a rank ends before it is ready; it has said why
  Ranks(std::vector<std::string> command, int count);
  /// Lets the ranks end.
  ~Ranks();
  Ranks(const Ranks&) = delete;
  Ranks& operator=(const Ranks&) = delete;

  /// Have a request answered by a rank, or by all of them where it concerns all: GET /metrics and POST /admin/reload.
  void handle(std::shared_ptr<Exchange> exchange);
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
  };
  struct Rank {
    pid_t process = 0;
    int socket = -1;
    bool ready = false;
    std::size_t waiting = 0;          ///< Requests without an answer
    std::unique_ptr<Workers> writer;  ///< Writes frames in order, so that nobody waits for a rank that does not read
    std::thread reader;
  };
  void start(int rank);
  void end();
  void read_answers(int rank);
  void give(std::uint64_t number, int rank);
  void lose(int rank);
  static void give_up(const Request& request, int rank);
  void ask_all(std::shared_ptr<Exchange> exchange, std::function<HttpAnswer(std::map<int, HttpAnswer>)> join);
  [[nodiscard]] int idlest() const;

  const std::vector<std::string> command_;
  std::vector<Rank> ranks_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::uint64_t, Request> requests_;
  std::uint64_t numbers_ = 0;
  std::atomic<std::int64_t> restarts_{0};
  bool ends_ = false, failed_ = false;
};

/// The texts of several ranks' /metrics as one, each line with its rank.
std::string join_metrics(const std::map<int, std::string>& texts);

}  // namespace dmoerm::serve
