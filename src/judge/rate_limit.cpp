#include "judge/rate_limit.h"

#include <algorithm>
#include <cmath>

namespace dmoerm::judge {
namespace {

constexpr double kPace = 0.99;               // share of the limit that is used
constexpr double kBurst = 0.005;             // share of a minute's limit
constexpr double kLongest_s = 1e7;           // a longer wait counts as never
constexpr double kHarmlessLatency_s = 0.25;  // a lower latency never stops the growth
constexpr double kLatencyTolerance = 3;
constexpr double kForgetRounds = 16;  // round trips over which the usual latency adapts to a slower server

}  // namespace

TimePoint after(TimePoint now, double seconds) {
  if (!(seconds > 0)) return now;
  if (seconds > kLongest_s) return kNever;
  return now + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
}

double seconds_between(TimePoint begin, TimePoint end) { return std::chrono::duration<double>(end - begin).count(); }

TokenBucket::TokenBucket(double per_minute) {
  set_per_minute(per_minute, TimePoint{});
  since_.reset();
  level_ = burst_;
}

double TokenBucket::level_at(TimePoint now) const {
  if (!since_ || now <= *since_) return level_;
  return std::min(burst_, level_ + seconds_between(*since_, now) * rate_);
}

void TokenBucket::advance(TimePoint now) {
  level_ = level_at(now);
  if (!since_ || now > *since_) since_ = now;
}

TimePoint TokenBucket::ready_at(double amount, TimePoint now) const {
  const TimePoint from = std::max(now, held_until_);
  if (rate_ <= 0) return from;
  const double missing = std::min(amount, burst_) - level_at(now);
  // The nanosecond avoids a second wait because of rounding.
  return missing <= 1e-9 ? from : std::max(from, after(now, missing / rate_ + 1e-9));
}

void TokenBucket::take(double amount, TimePoint now) {
  advance(now);
  if (rate_ > 0) level_ -= amount;
}

void TokenBucket::settle(double taken, double used, TimePoint now) {
  advance(now);
  if (rate_ > 0) level_ = std::min(burst_, level_ + taken - used);
}

void TokenBucket::hold(TimePoint until) { held_until_ = std::max(held_until_, until); }

void TokenBucket::at_most(double remaining, TimePoint now) {
  advance(now);
  if (rate_ > 0) level_ = std::min(level_, std::max(0.0, remaining));
}

void TokenBucket::set_per_minute(double per_minute, TimePoint now) {
  if (since_) advance(now);
  per_minute_ = per_minute > 0 ? per_minute : 0;
  rate_ = per_minute_ * kPace / 60;
  burst_ = std::max(1.0, per_minute_ * kBurst);
  level_ = std::min(level_, burst_);
}

AdaptiveConcurrency::AdaptiveConcurrency(int max, int start)
    : limit_(std::clamp(start, 1, std::max(1, max))), max_(std::max(1, max)) {}

int AdaptiveConcurrency::limit() const { return static_cast<int>(limit_); }

void AdaptiveConcurrency::replied(double latency_s, int in_flight) {
  const auto replies = static_cast<double>(++replies_);
  recent_s_ += (latency_s - recent_s_) / std::min(replies, 16.0);
  // The usual latency falls faster than it rises, so that a server that became slow keeps counting as slow for a while.
  const double memory = std::max(256.0, kForgetRounds * limit_) / (latency_s < usual_s_ ? 4 : 1);
  usual_s_ += (latency_s - usual_s_) / (replies <= 8 ? replies : memory);
  const bool holds = recent_s_ <= std::max(kHarmlessLatency_s, kLatencyTolerance * usual_s_);
  if (!holds || 2 * in_flight < limit()) return;
  limit_ = std::min(max_, limit_ + (doubling_ ? 1 : 1 / limit_));
}

void AdaptiveConcurrency::throttled(TimePoint sent_at, TimePoint now) {
  doubling_ = false;
  if (sent_at <= halved_at_) return;  // it was sent before the last halving
  limit_ = std::max(1.0, limit_ / 2);
  halved_at_ = now;
}

double Backoff::delay_s(int attempt, Rng& rng) const {
  return rng.uniform() * std::min(cap_s, base_s * std::exp2(std::min(attempt, 30)));
}

CircuitBreaker::CircuitBreaker(int failures_max, double open_min_s, double open_max_s)
    : failures_max_(failures_max), open_min_s_(open_min_s), open_max_s_(open_max_s), open_s_(open_min_s) {}

TimePoint CircuitBreaker::ready_at(TimePoint now) const {
  if (state_ == State::closed) return now;
  return state_ == State::probing ? kNever : std::max(now, open_until_);
}

void CircuitBreaker::sent(TimePoint now) {
  if (state_ != State::open) return;
  state_ = State::probing;
  probe_sent_ = now;
}

void CircuitBreaker::succeeded() {
  state_ = State::closed;
  failures_ = 0;
  open_s_ = open_min_s_;
  open_since_ = kNever;
}

void CircuitBreaker::failed(TimePoint sent_at, TimePoint now) {
  if (state_ == State::open) return;                              // the request was sent before the circuit opened
  if (state_ == State::probing && sent_at < probe_sent_) return;  // likewise
  if (state_ == State::closed && ++failures_ < failures_max_) return;
  if (state_ == State::probing) open_s_ = std::min(open_max_s_, open_s_ * 2);
  if (state_ == State::closed) open_since_ = now;
  state_ = State::open;
  open_until_ = after(now, open_s_);
}

}  // namespace dmoerm::judge
