// How fast one endpoint may be asked: pure logic, no I/O, no clock of its own. Every function gets the time it happens at, from a
// clock that never jumps.
#pragma once
#include <chrono>
#include <cstdint>
#include <optional>

#include "base/rng.h"

namespace dmoerm::judge {

using Clock = std::chrono::steady_clock;
using TimePoint = Clock::time_point;
/// "Not before something else happens."
inline constexpr TimePoint kNever = TimePoint::max();

/// A moment `seconds` after `now`, kept in range. Negative or NaN is now.
TimePoint after(TimePoint now, double seconds);
/// From `begin` to `end` in seconds.
double seconds_between(TimePoint begin, TimePoint end);

/// Requests, or tokens, a minute. Paced evenly at 99 % of the limit with a burst of 0.5 % of it, so that no window of a minute,
/// wherever it starts, holds more than the limit: servers that count in windows and servers with buckets both accept it.
class TokenBucket {
 public:
  /// @param per_minute  0 = no limit
  explicit TokenBucket(double per_minute = 0);

  /// Earliest time at which `amount` may be taken. What exceeds the burst is taken on credit from a full bucket.
  [[nodiscard]] TimePoint ready_at(double amount, TimePoint now) const;
  void take(double amount, TimePoint now);
  /// The use turned out to be `used` where `taken` was taken.
  void settle(double taken, double used, TimePoint now);
  /// Nothing before `until`; an earlier hold does not shorten a later one.
  void hold(TimePoint until);
  /// What the server knows: it gives `remaining` more now.
  void at_most(double remaining, TimePoint now);
  void set_per_minute(double per_minute, TimePoint now);
  [[nodiscard]] double per_minute() const { return per_minute_; }

 private:
  [[nodiscard]] double level_at(TimePoint now) const;
  void advance(TimePoint now);

  double per_minute_ = 0, rate_ = 0 /* a second */, burst_ = 0, level_ = 0;
  std::optional<TimePoint> since_;  ///< the time of level_; not set before the first use
  TimePoint held_until_ = TimePoint::min();
};

/// How many requests may be in flight: doubles each round trip at first and grows by one after the first trouble, while replies
/// come as fast as they used to; halves when the server says that it is too much, once a round trip.
class AdaptiveConcurrency {
 public:
  explicit AdaptiveConcurrency(int max, int start = 8);
  [[nodiscard]] int limit() const;
  /// A reply came after `latency_s`. @param in_flight  when it came, itself included: a limit that is not half used does not grow
  void replied(double latency_s, int in_flight);
  /// "Too much", to a request of `sent_at`.
  void throttled(TimePoint sent_at, TimePoint now);

 private:
  double limit_, max_;
  bool doubling_ = true;
  double usual_s_ = 0, recent_s_ = 0;  ///< latency: what it used to be over many round trips, what it is now
  std::int64_t replies_ = 0;
  TimePoint halved_at_ = TimePoint::min();
};

/// Exponential backoff with full jitter: uniform in [0, min(cap, base * 2^n)).
struct Backoff {
  double base_s = 0.5, cap_s = 60;
  /// @param attempt  0 for the first repetition
  double delay_s(int attempt, Rng& rng) const;
};

/// Stops asking an endpoint that keeps failing, and lets single probes through until one succeeds.
class CircuitBreaker {
 public:
  enum class State : std::uint8_t { closed, open, probing };
  /// @param failures_max  in a row before it opens
  explicit CircuitBreaker(int failures_max = 5, double open_min_s = 0.5, double open_max_s = 30);

  /// Earliest time a request may go; kNever while a probe is out.
  [[nodiscard]] TimePoint ready_at(TimePoint now) const;
  /// A request goes out now.
  void sent(TimePoint now);
  void succeeded();
  /// A request of `sent_at` failed.
  void failed(TimePoint sent_at, TimePoint now);
  [[nodiscard]] State state() const { return state_; }
  /// Since when it is not closed. @return kNever while closed
  [[nodiscard]] TimePoint open_since() const { return open_since_; }

 private:
  int failures_max_;
  double open_min_s_, open_max_s_, open_s_;
  State state_ = State::closed;
  int failures_ = 0;
  TimePoint open_until_ = TimePoint::min(), open_since_ = kNever, probe_sent_ = TimePoint::min();
};

}  // namespace dmoerm::judge
