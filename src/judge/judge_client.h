// Asks judges over the network: OpenAI-compatible chat completions, many at once, as fast as their limits allow, each as often as
// it takes and no oftener.
//
//   submit() -> queue -> [gate of an endpoint: rates, concurrency, circuit] -> wire -> reply, or back to the queue after a pause
//   -> poll()
//
// Everything happens inside poll(), in the thread that calls it.
#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace dmoerm::judge {

/// One server and the key for it.
struct Endpoint {
  std::string url;                 ///< base address, e.g. https://host/v1; "/chat/completions" is added
  std::string key_env, key_file;   ///< where the API key is, see ApiKey::load(); both empty: none is sent
  double requests_per_minute = 0;  ///< 0 = as the server's headers say, else no limit
  double tokens_per_minute = 0;    ///< likewise
  int concurrency_max = 64;        ///< requests in flight; the client starts at 8 and finds what the server bears
  std::string ca_file;             ///< certificates to trust instead of the system's
  double connect_timeout_s = 10;
  double request_timeout_s = 120;  ///< of one try
};

/// When to ask again and when to give up.
struct RetryPolicy {
  int tries_max = 6;  ///< of one request that failed with 408, 409, 425, 5xx, a timeout or a lost connection after it was sent
  int throttled_tries_max = 30;     ///< of one request answered with 429 or 503
  int bad_replies_max = 2;          ///< of one request, with status 200 and a body that cannot be used: each may have been paid
  double total_time_s = 900;        ///< from a request's first try to the start of its last
  double outage_max_s = 900;        ///< without reaching any endpoint; then everything ends as `unreachable`
  double first_contact_max_s = 60;  ///< the same before the first answer ever
  double backoff_base_s = 0.5, backoff_cap_s = 60;
  std::size_t queue_max = 4096;          ///< requests that wait
  std::size_t body_bytes_max = 8 << 20;  ///< of a reply
  std::uint64_t seed = 0;                ///< of the jitter; 0 = another each time
};

struct JudgeReply {
  enum Status : std::uint8_t {
    ok,
    refused,    ///< by the judge or its content filter
    error,      ///< final for this request: see detail
    cancelled,  ///< never answered, because the client was stopped or a reply below ended everything
    // These end everything: what waits is cancelled, what is in flight is waited for, nothing is sent any more.
    unauthorised,     ///< 401, 403
    model_unknown,    ///< 404
    quota_exhausted,  ///< 402, 429 with insufficient_quota
    untrusted,        ///< the certificate does not hold
    unreachable       ///< no endpoint for longer than the policy allows
  };
  std::uint64_t ticket = 0;
  Status status = error;
  std::string text, finish_reason;
  std::string detail;                                       ///< of anything but ok: what happened, for the user
  std::int32_t prompt_tokens = -1, completion_tokens = -1;  ///< as the server counted; -1 if it did not say
  nlohmann::json logprobs;                                  ///< choices[0].logprobs
  double seconds = 0;                                       ///< of the last try
  int tries = 0;                                            ///< sent, at least in part
  int billed_tries = 0;       ///< tries without a usable reply that may have been paid; those a server refused are not among them
  bool maybe_billed = false;  ///< a try was cut off after it was sent, or its reply was useless: it may have cost money
};

/// "ok", "refused", ...
std::string_view to_string(JudgeReply::Status status);
/// Whether the status ends everything.
bool ends_all(JudgeReply::Status status);

struct ClientStats {
  std::int64_t sent = 0;          ///< tries
  std::int64_t answered = 0;      ///< tries with status 200 and a usable body
  std::int64_t throttled = 0;     ///< 429 and 503
  std::int64_t failed = 0;        ///< other failed tries
  std::int64_t not_reached = 0;   ///< connections that did not come about; nothing was sent
  std::int64_t maybe_billed = 0;  ///< tries of unknown cost
  double latency_s = 0;           ///< summed over `answered`
  struct PerEndpoint {
    std::string url, circuit;  ///< "closed", "open", "probing"
    int in_flight = 0, concurrency = 0;
    double requests_per_minute = 0;  ///< the pace in force, 0 = none
  };
  std::vector<PerEndpoint> endpoints;
};

class JudgeClient {
 public:
  /// @param endpoints  asked side by side, the least busy first; one that fails is left out until it works again
  /// @throws ConfigError for no endpoint, a bad address, a missing or unprotected key
  explicit JudgeClient(std::vector<Endpoint> endpoints, RetryPolicy policy = {});
  ~JudgeClient();
  JudgeClient(const JudgeClient&) = delete;
  JudgeClient& operator=(const JudgeClient&) = delete;

  /// Queue one request. Look at full() first. @param ticket  names it in its reply; unique among those not replied to
  /// @param body  the JSON of the request, sent as it is
  /// @param tokens_estimate  prompt and answer, for the token limit
  void submit(std::uint64_t ticket, std::string body, std::int32_t tokens_estimate);
  [[nodiscard]] bool full() const;
  /// Send, receive, wait. Every submitted request is replied to exactly once. @param wait  returns earlier with at least one
  /// reply, or if none can come
  std::vector<JudgeReply> poll(std::chrono::milliseconds wait);
  /// Requests on the wire.
  [[nodiscard]] std::size_t in_flight() const;
  /// Submitted and not yet replied to.
  [[nodiscard]] std::size_t pending() const;
  /// Asked before a request is repeated whose last try may have been paid; false: it ends as an error. Without it all are
  /// repeated.
  void ask_before_repeating(std::function<bool(std::uint64_t ticket)> may_repeat);
  /// Send nothing any more: what waits becomes `cancelled`, what is in flight is still collected by poll().
  void stop_submitting();
  [[nodiscard]] ClientStats stats() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace dmoerm::judge
