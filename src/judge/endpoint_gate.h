// When one endpoint may be sent the next request: its two rate limits, its concurrency and its circuit breaker combined. Pure
// logic, like rate_limit.h.
#pragma once
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "config/label_config.h"
#include "judge/rate_headers.h"
#include "judge/rate_limit.h"

namespace dmoerm::judge {

/// The limits of one address and key, which all judges there share: rates and requests in flight that are configured, and rates
/// that the server's headers tell. A learnt limit is shared by the judges that are told the same number; models with limits of
/// their own are told others.
struct SharedRates {
  int in_flight = 0, concurrency_max = std::numeric_limits<int>::max();
  TokenBucket requests{0}, tokens{0};                            ///< Configured
  std::map<double, TokenBucket> learnt_requests, learnt_tokens;  ///< By the limit a minute
};

/// Finds the shared limits of endpoints. Where judges configure different ones, the lowest holds.
class RateRegistry {
 public:
  /// @param secret  the endpoint's key; "" = none
  std::shared_ptr<SharedRates> of(const config::EndpointConfig& endpoint, const std::string& secret);

 private:
  std::map<std::pair<std::string, std::string>, std::shared_ptr<SharedRates>> rates_;
};

class EndpointGate {
 public:
  enum class Outcome : std::uint8_t {
    answered,   ///< The endpoint works, whatever it answered
    throttled,  ///< 429
    failed,     ///< 5xx, timeout, cut off, not reached
    overloaded  ///< 503: throttled and failed
  };
  /// Result of one request.
  struct Feedback {
    Outcome outcome = Outcome::answered;
    TimePoint sent_at;
    double tokens_taken = 0;  ///< Tokens as given to sent()
    double tokens_used = -1;  ///< Tokens by the server's count; -1 if it did not say
    RateHeaders headers;
  };

  /// @param pause   pause of the whole endpoint while it answers "too many requests" without saying for how long
  /// @param shared  rates that other gates use too; nullptr: none
  EndpointGate(const config::EndpointConfig& endpoint, const Backoff& pause, std::uint64_t seed,
               std::shared_ptr<SharedRates> shared = nullptr);

  /// Earliest time at which a request of `tokens` may go; kNever if it has to wait for a reply to another.
  [[nodiscard]] TimePoint ready_at(double tokens, TimePoint now) const;
  void sent(double tokens, TimePoint now);
  /// Take the result of a request. Every sent() is followed by one done().
  void done(const Feedback& feedback, TimePoint now);

  [[nodiscard]] int in_flight() const { return in_flight_; }
  [[nodiscard]] int concurrency() const { return concurrency_.limit(); }
  [[nodiscard]] const CircuitBreaker& circuit() const { return circuit_; }
  [[nodiscard]] double requests_per_minute() const { return requests_.per_minute(); }

 private:
  static void heed(TokenBucket& bucket, bool configured, const LimitState& state, bool throttled, TimePoint now);
  /// The same for the rates that are shared. @param learnt  this gate's place in `limits`
  static void heed_shared(TokenBucket& bucket, std::map<double, TokenBucket>& limits, TokenBucket*& learnt, bool configured,
                          const LimitState& state, bool throttled, TimePoint now);
  void throttle(const Feedback& feedback, TimePoint now);

  bool requests_configured_, tokens_configured_;  ///< Whether the user has set these rates
  Backoff pause_;
  std::shared_ptr<SharedRates> shared_;
  TokenBucket requests_, tokens_;
  TokenBucket *learnt_requests_ = nullptr, *learnt_tokens_ = nullptr;  ///< In shared_; nullptr: no limit is learnt
  AdaptiveConcurrency concurrency_;
  CircuitBreaker circuit_;
  Rng rng_;
  int in_flight_ = 0;
  int throttles_ = 0;                          ///< Throttled round trips in a row
  TimePoint throttled_at_ = TimePoint::min();  ///< Time of the last one
};

}  // namespace dmoerm::judge
