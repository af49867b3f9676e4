// Limits how fast one endpoint is asked. Pure logic without I/O or a clock: every function is given the current time, from a
// clock that never jumps.
#pragma once
#include <chrono>
#include <cstdint>
#include <optional>

#include "base/rng.h"

namespace dmoerm::judge {

using Clock = std::chrono::steady_clock;
using TimePoint = Clock::time_point;
/// A time that never comes: something else has to happen first.
inline constexpr TimePoint kNever = TimePoint::max();

/// The time `seconds` after `now`, kept in range. Negative or NaN seconds give `now`.
TimePoint after(TimePoint now, double seconds);
/// Seconds from `begin` to `end`.
double seconds_between(TimePoint begin, TimePoint end);

/// Limits requests, or tokens, per minute. It paces them evenly at 99 % of the limit with a burst of 0.5 %, so that no window of
/// a minute, wherever it starts, has more than the limit. Servers that count in windows and servers with token buckets both
/// accept it.
class TokenBucket {
 public:
  /// @param per_minute  0 = unlimited
  explicit TokenBucket(double per_minute = 0);

  /// Earliest time at which `amount` may be taken. An amount above the burst is taken from a full bucket, which it overdraws.
  [[nodiscard]] TimePoint ready_at(double amount, TimePoint now) const;
  void take(double amount, TimePoint now);
  /// Correct an earlier take() of `taken` to the real use, `used`.
  void settle(double taken, double used, TimePoint now);
  /// Allow nothing before `until`. A hold never shortens a longer one.
  void hold(TimePoint until);
  /// Lower the level to `remaining`, which the server reports.
  void at_most(double remaining, TimePoint now);
  void set_per_minute(double per_minute, TimePoint now);
  [[nodiscard]] double per_minute() const { return per_minute_; }

 private:
  [[nodiscard]] double level_at(TimePoint now) const;
  void advance(TimePoint now);

  double per_minute_ = 0, rate_ = 0 /* a second */, burst_ = 0, level_ = 0;
  std::optional<TimePoint> since_;  ///< Time of level_; not set before the first use
  TimePoint held_until_ = TimePoint::min();
};

/// Limits the requests in flight. While replies come as fast as before, the limit doubles each round trip, and after the first
/// refusal it grows by one each round trip. When the server refuses a request as too much, it halves, at most once each round
/// trip.
class AdaptiveConcurrency {
 public:
  explicit AdaptiveConcurrency(int max, int start = 8);
  [[nodiscard]] int limit() const;
  /// A reply came after `latency_s`. @param in_flight  requests in flight, this one included: a limit that is less than half used
  /// does not grow
  void replied(double latency_s, int in_flight);
  /// The server refused, as too much, a request that was sent at `sent_at`.
  void throttled(TimePoint sent_at, TimePoint now);

 private:
  double limit_, max_;
  bool doubling_ = true;
  double usual_s_ = 0, recent_s_ = 0;  ///< Latency over many round trips, and latency now
  std::int64_t replies_ = 0;
  TimePoint halved_at_ = TimePoint::min();
};

/// Exponential backoff with full jitter: uniform in [0, min(cap, base * 2^n)).
struct Backoff {
  double base_s = 0.5, cap_s = 60;
  /// Delay before a repetition. @param attempt  0 for the first one
  double delay_s(int attempt, Rng& rng) const;
};

/// Stops requests to an endpoint that keeps failing, apart from single probes, until one succeeds.
class CircuitBreaker {
 public:
  enum class State : std::uint8_t { closed, open, probing };
  /// @param failures_max  failures in a row after which it opens
  explicit CircuitBreaker(int failures_max = 5, double open_min_s = 0.5, double open_max_s = 30);

  /// Earliest time at which a request may go; kNever while a probe is in flight.
  [[nodiscard]] TimePoint ready_at(TimePoint now) const;
  /// A request goes out now.
  void sent(TimePoint now);
  void succeeded();
  /// A request that was sent at `sent_at` failed.
  void failed(TimePoint sent_at, TimePoint now);
  [[nodiscard]] State state() const { return state_; }
  /// Time since which it is not closed; kNever while it is closed.
  [[nodiscard]] TimePoint open_since() const { return open_since_; }

 private:
  int failures_max_;
  double open_min_s_, open_max_s_, open_s_;
  State state_ = State::closed;
  int failures_ = 0;
  TimePoint open_until_ = TimePoint::min(), open_since_ = kNever, probe_sent_ = TimePoint::min();
};

}  // namespace dmoerm::judge
