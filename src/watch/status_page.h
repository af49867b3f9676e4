// A status page and Prometheus metrics over HTTP.
#pragma once
#include <future>
#include <memory>
#include <string>

#include "config/cluster_config.h"
#include "watch/run_state.h"

namespace dmoerm::watch {

/// Serves / (a page that reloads itself), /status.json, /metrics (Prometheus) and /healthz in threads of its own. If a token is
/// set, readers must send it as "Authorization: Bearer TOKEN" or "?token=TOKEN"; a browser then gets a cookie and the address
/// without the token. Without a token only requests that call this
/// machine by a local name are answered. Each answer is made at most once per state, so that many readers cost little.
class StatusPage {
 public:
  /// If the port is not available or no thread can be started, a warning is logged and nothing is served.
  /// @throws ConfigError if the token's environment variable is not set
  explicit StatusPage(const config::WatchConfig& config);
  ~StatusPage();
  StatusPage(const StatusPage&) = delete;
  StatusPage& operator=(const StatusPage&) = delete;

  /// The address, as in "http://127.0.0.1:8080/", or "" if nothing is served.
  [[nodiscard]] const std::string& address() const;
  /// Replace the state that is shown.
  void publish(const RunState& state, double now);

 private:
  struct Server;
  bool start(int port);
  std::shared_ptr<Server> server_;
  std::future<void> ended_;  ///< the end of the server's thread
};

}  // namespace dmoerm::watch
