// When one endpoint may be sent the next request: its two rate limits, its concurrency and its circuit breaker in one. Pure
// logic, like rate_limit.h.
#pragma once
#include "judge/rate_headers.h"
#include "judge/rate_limit.h"

namespace dmoerm::judge {

struct GateLimits {
  double requests_per_minute = 0;  ///< 0 = as the server's headers say, else none
  double tokens_per_minute = 0;
  int concurrency_max = 64;
  int circuit_failures_max = 5;
  Backoff pause;  ///< of the whole endpoint, while it answers "too much" without saying for how long
};

class EndpointGate {
 public:
  enum class Outcome : std::uint8_t {
    answered,   ///< whatever the answer: the endpoint works
    throttled,  ///< 429
    failed,     ///< 5xx, timeout, cut off, not reached
    overloaded  ///< 503: both
  };
  /// What became of a request.
  struct Feedback {
    Outcome outcome = Outcome::answered;
    TimePoint sent_at;
    double tokens_taken = 0;  ///< as given to sent()
    double tokens_used = -1;  ///< as the server counted; -1 if it did not say
    RateHeaders headers;
  };

  EndpointGate(const GateLimits& limits, std::uint64_t seed);

  /// Earliest time at which a request of `tokens` may go; kNever if only a reply can bring it nearer.
  [[nodiscard]] TimePoint ready_at(double tokens, TimePoint now) const;
  void sent(double tokens, TimePoint now);
  /// Every sent() is followed by this.
  void done(const Feedback& feedback, TimePoint now);

  [[nodiscard]] int in_flight() const { return in_flight_; }
  [[nodiscard]] int concurrency() const { return concurrency_.limit(); }
  [[nodiscard]] const CircuitBreaker& circuit() const { return circuit_; }
  [[nodiscard]] double requests_per_minute() const { return requests_.per_minute(); }

 private:
  void heed(TokenBucket& bucket, bool configured, const LimitState& state, bool throttled, TimePoint now);
  void throttle(const Feedback& feedback, TimePoint now);

  GateLimits limits_;
  TokenBucket requests_, tokens_;
  AdaptiveConcurrency concurrency_;
  CircuitBreaker circuit_;
  Rng rng_;
  int in_flight_ = 0;
  int throttles_ = 0;                          ///< in a row, those of one round trip counted once
  TimePoint throttled_at_ = TimePoint::min();  ///< the last that was counted
};

}  // namespace dmoerm::judge
