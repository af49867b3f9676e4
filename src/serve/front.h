// The front of a server with several ranks: it speaks HTTP, answers what needs no bundle, and has the ranks score.
#pragma once
#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "serve/http_server.h"
#include "serve/metrics.h"
#include "serve/ranks.h"

namespace dmoerm::serve {

class Front {
 public:
  /// @param keys  one of them is wanted; empty: everybody on this machine may ask
  /// @param command, ranks, deadline_s  as those of Ranks
  /// @throws Error as Ranks
  Front(std::vector<std::string> keys, std::vector<std::string> command, int ranks, double deadline_s);

  /// After the headers: answers that need no body, and refusals.
  [[nodiscard]] std::optional<HttpAnswer> check(const HttpRequest& request);
  /// The whole request.
  void handle(std::shared_ptr<Exchange> exchange);
  /// An error in the words of the protocol that the path belongs to. It is counted.
  [[nodiscard]] HttpAnswer refuse(const HttpRequest& request, int status, ErrorCode code, const std::string& message);

  /// Refuse new requests with 503; GET /ready says so too.
  void drain() { draining_ = true; }
  /// Answer what still waits with 503.
  void abandon() { ranks_.abandon(); }
  /// Have all ranks read their bundles again.
  void reload() { ranks_.reload(); }
  /// Lets /metrics show the server's connections. The server must live as long as requests come.
  void watch(const HttpServer* server) { server_ = server; }
  /// What the front and the ranks answered.
  [[nodiscard]] Totals totals() const;
  [[nodiscard]] std::int64_t restarts() const { return ranks_.restarts(); }

 private:
  void count(const HttpRequest& request, const HttpAnswer& answer, int rank, double seconds);
  HttpAnswer counted(const HttpRequest& request, HttpAnswer answer);
  [[nodiscard]] HttpAnswer join_metrics_of(std::map<int, HttpAnswer> answers) const;

  const std::vector<std::string> keys_;
  RequestCounts own_;  ///< What the ranks did not answer
  mutable std::mutex mutex_;
  Totals totals_;
  std::atomic<bool> draining_{false};
  std::atomic<const HttpServer*> server_{nullptr};
  Ranks ranks_;
};

/// The texts of /metrics of the front and the ranks as one, each line with the name of its process.
std::string join_metrics(const std::map<std::string, std::string>& texts);

}  // namespace dmoerm::serve
