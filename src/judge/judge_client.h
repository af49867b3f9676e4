// Asks judges over the network: OpenAI-compatible chat completions, many at once, as fast as their limits allow. A request is
// repeated only where a repetition can help.
//
//   submit() -> queue -> [gate of an endpoint: rates, concurrency, circuit] -> network -> reply, or back to the queue after a
//   pause -> poll()
//
// Everything happens inside poll(), in the thread that calls it.
#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "config/label_config.h"
#include "judge/endpoint_gate.h"
#include "judge/judge_reply.h"

namespace dmoerm::judge {

/// When to ask again and when to give up.
struct RetryPolicy {
  int tries_max = 6;  ///< Tries of a request that fails with 408, 409, 425, 5xx, a timeout or a connection lost after sending
  int throttled_tries_max = 30;     ///< Tries of a request that is answered with 429 or 503
  int bad_replies_max = 2;          ///< Tries of a request that gets status 200 and an unusable body; each may have been charged
  double total_time_s = 900;        ///< Seconds from a request's first try to the start of its last
  double outage_max_s = 900;        ///< Seconds without reaching any endpoint; then everything ends as `unreachable`
  double first_contact_max_s = 60;  ///< The same before the first answer ever
  double backoff_base_s = 0.5, backoff_cap_s = 60;
  std::size_t queue_max = 4096;          ///< Requests that may wait
  std::size_t body_bytes_max = 8 << 20;  ///< Largest reply
  std::uint64_t seed = 0;                ///< Seed of the jitter; 0 = a different one each time
};

struct ClientStats {
  std::int64_t sent = 0;          ///< Tries
  std::int64_t answered = 0;      ///< Tries with status 200 and a usable body
  std::int64_t throttled = 0;     ///< Tries answered with 429 or 503
  std::int64_t failed = 0;        ///< Other failed tries
  std::int64_t not_reached = 0;   ///< Failed connections; nothing was sent
  std::int64_t maybe_billed = 0;  ///< Tries of unknown cost
  std::string throttled_problem;  ///< What the server said to the last of `throttled`
};

class JudgeClient {
 public:
  /// @param endpoints  servers that share the work, the least busy first; one that fails is left out until it works again
  /// @throws ConfigError for no endpoint, a bad address, a missing or unprotected key
  /// @param rates  rates that are shared with other clients of the same address and key; nullptr: not shared
  explicit JudgeClient(const std::vector<config::EndpointConfig>& endpoints, RetryPolicy policy = {},
                       RateRegistry* rates = nullptr);
  ~JudgeClient();
  JudgeClient(const JudgeClient&) = delete;
  JudgeClient& operator=(const JudgeClient&) = delete;

  /// Queue one request. The client must not be full().
  /// @param ticket  names the request in its reply; unique among those without a reply
  /// @param body    the JSON of the request, sent unchanged
  /// @param tokens_estimate  tokens of prompt and answer, for the token limit
  void submit(std::uint64_t ticket, std::string body, std::int32_t tokens_estimate);
  [[nodiscard]] bool full() const;
  /// Send waiting requests now, with at most `in_flight_max` on the network at once. poll() keeps to that number from now on;
  /// before the first call nothing but the endpoints limits it.
  void send(std::size_t in_flight_max);
  /// Send, receive, wait. Every submitted request is replied to exactly once.
  /// @param wait  the longest wait; poll() returns earlier with at least one reply, or if none can come
  std::vector<JudgeReply> poll(std::chrono::milliseconds wait);
  /// Requests on the network.
  [[nodiscard]] std::size_t in_flight() const;
  /// Requests without a reply.
  [[nodiscard]] std::size_t pending() const;
  /// Set a function that is called before a request is sent again; false ends the request as an error. Without it all are
  /// repeated. A try that was refused as one too many (429, 503), or never sent, is repeated without asking.
  /// @param charged  whether the last try may have cost money
  void ask_before_repeating(std::function<bool(std::uint64_t ticket, bool charged)> may_repeat);
  /// Send nothing more: waiting requests become `cancelled`, poll() still collects those in flight.
  void stop_submitting();
  [[nodiscard]] ClientStats stats() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace dmoerm::judge
