// A status page and Prometheus metrics over HTTP.
#pragma once
#include <memory>
#include <string>

#include "config/cluster_config.h"
#include "watch/run_state.h"

namespace dmoerm::watch {

/// Serves / (a page that shows itself anew), /status.json, /metrics (Prometheus) and /healthz in threads of its own. Where a
/// token is set, readers send it as "Authorization: Bearer TOKEN" or "?token=TOKEN". Without one only requests that name this
/// machine by a local name are answered. What is shown is made once a state at most, so readers cannot make it work hard.
class StatusPage {
 public:
  /// A port that cannot be had is a warning: nothing is served then.
  /// @throws ConfigError if the token's environment variable is not set
  explicit StatusPage(const config::WatchConfig& config);
  ~StatusPage();
  StatusPage(const StatusPage&) = delete;
  StatusPage& operator=(const StatusPage&) = delete;

  /// "http://127.0.0.1:8080/", or "" if nothing is served.
  [[nodiscard]] const std::string& address() const;
  /// What is shown from now on.
  void publish(const RunState& state, double now);

 private:
  struct Server;
  std::shared_ptr<Server> server_;
};

/// Equal, in a time that depends on nothing but the lengths.
bool equal_secrets(const std::string& one, const std::string& other);

}  // namespace dmoerm::watch
