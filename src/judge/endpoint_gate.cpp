#include "judge/endpoint_gate.h"

#include <algorithm>

namespace dmoerm::judge {
namespace {

constexpr double kMinute_s = 61;      // a limit that resets within this time counts requests or tokens a minute
constexpr double kHoldMax_s = 3600;   // longest wait that a server can impose: after an hour the endpoint is tried again
constexpr int kPatientThrottles = 2;  // throttled round trips in a row before the whole endpoint pauses unasked

}  // namespace

std::shared_ptr<SharedRates> RateRegistry::of(const config::EndpointConfig& endpoint, const std::string& secret) {
  std::string address = endpoint.url.substr(0, endpoint.url.find('?'));
  while (address.ends_with('/')) address.pop_back();
  std::shared_ptr<SharedRates>& shared = rates_[{address, secret}];
  if (!shared) shared = std::make_shared<SharedRates>();
  const auto lower = [](TokenBucket& bucket, double per_minute) {
    const bool lowest = per_minute > 0 && (bucket.per_minute() <= 0 || per_minute < bucket.per_minute());
    if (lowest) bucket = TokenBucket(per_minute);
  };
  lower(shared->requests, endpoint.requests_per_minute);
  lower(shared->tokens, endpoint.tokens_per_minute);
  shared->concurrency_max = static_cast<int>(std::clamp<std::int64_t>(endpoint.concurrency_max, 1, shared->concurrency_max));
  return shared;
}

EndpointGate::EndpointGate(const config::EndpointConfig& endpoint, const Backoff& pause, std::uint64_t seed,
                           std::shared_ptr<SharedRates> shared)
    : requests_configured_(endpoint.requests_per_minute > 0),
      tokens_configured_(endpoint.tokens_per_minute > 0),
      pause_(pause),
      shared_(std::move(shared)),
      requests_(endpoint.requests_per_minute),
      tokens_(endpoint.tokens_per_minute),
      concurrency_(static_cast<int>(endpoint.concurrency_max)),
      rng_(seed) {}

TimePoint EndpointGate::ready_at(double tokens, TimePoint now) const {
  if (in_flight_ >= concurrency_.limit()) return kNever;
  if (shared_ && shared_->in_flight >= shared_->concurrency_max) return kNever;  // perhaps for another judge's reply
  const TimePoint circuit = circuit_.ready_at(now);
  if (circuit == kNever) return kNever;
  TimePoint ready = std::max({circuit, requests_.ready_at(1, now), tokens_.ready_at(tokens, now)});
  if (shared_) ready = std::max({ready, shared_->requests.ready_at(1, now), shared_->tokens.ready_at(tokens, now)});
  if (learnt_requests_ != nullptr) ready = std::max(ready, learnt_requests_->ready_at(1, now));
  if (learnt_tokens_ != nullptr) ready = std::max(ready, learnt_tokens_->ready_at(tokens, now));
  return ready;
}

void EndpointGate::sent(double tokens, TimePoint now) {
  ++in_flight_;
  requests_.take(1, now);
  tokens_.take(tokens, now);
  if (shared_) {
    ++shared_->in_flight;
    shared_->requests.take(1, now);
    shared_->tokens.take(tokens, now);
  }
  if (learnt_requests_ != nullptr) learnt_requests_->take(1, now);
  if (learnt_tokens_ != nullptr) learnt_tokens_->take(tokens, now);
  circuit_.sent(now);
}

void EndpointGate::heed(TokenBucket& bucket, bool configured, const LimitState& state, bool throttled, TimePoint now) {
  // A configured rate is changed only when the server refuses it. An unknown one is learnt from a limit a minute.
  const bool by_minute = state.reset_s && *state.reset_s <= kMinute_s;
  if (state.limit && *state.limit >= 1 && by_minute) {
    const bool too_fast = bucket.per_minute() == 0 || bucket.per_minute() > *state.limit;
    if (configured ? throttled && too_fast : bucket.per_minute() != *state.limit) bucket.set_per_minute(*state.limit, now);
  }
  if (state.remaining) bucket.at_most(*state.remaining, now);
  // Wait for the reset only after a refusal: until then the server's bucket may refill sooner.
  if (throttled && state.remaining && *state.remaining < 1 && state.reset_s)
    bucket.hold(after(now, std::min(*state.reset_s, kHoldMax_s)));
}

void EndpointGate::heed_shared(TokenBucket& bucket, std::map<double, TokenBucket>& limits, TokenBucket*& learnt, bool configured,
                               const LimitState& state, bool throttled, TimePoint now) {
  if (configured) return heed(bucket, true, state, throttled, now);
  const bool by_minute = state.reset_s && *state.reset_s <= kMinute_s;
  if (state.limit && *state.limit >= 1 && by_minute) learnt = &limits.try_emplace(*state.limit, *state.limit).first->second;
  if (learnt != nullptr) heed(*learnt, true, state, throttled, now);
}

void EndpointGate::throttle(const Feedback& feedback, TimePoint now) {
  concurrency_.throttled(feedback.sent_at, now);
  if (feedback.headers.retry_after_s) {
    const TimePoint until = after(now, std::min(*feedback.headers.retry_after_s, kHoldMax_s));
    requests_.hold(until);
    if (feedback.outcome == Outcome::throttled && learnt_requests_ != nullptr) {
      learnt_requests_->hold(until);
    } else if (feedback.outcome == Outcome::throttled && shared_) {
      shared_->requests.hold(until);
    }
  } else if (feedback.sent_at > throttled_at_) {
    throttled_at_ = now;
    if (++throttles_ > kPatientThrottles) requests_.hold(after(now, pause_.delay_s(throttles_ - kPatientThrottles, rng_)));
  }
}

void EndpointGate::done(const Feedback& feedback, TimePoint now) {
  const int in_flight = in_flight_--;
  if (shared_) --shared_->in_flight;
  const bool throttled = feedback.outcome == Outcome::throttled, overloaded = feedback.outcome == Outcome::overloaded;
  if (feedback.outcome == Outcome::answered) {
    concurrency_.replied(seconds_between(feedback.sent_at, now), in_flight);
    throttles_ = 0;
  }
  const bool answered = feedback.outcome == Outcome::answered;
  const double used = !answered ? 0 : feedback.tokens_used >= 0 ? feedback.tokens_used : feedback.tokens_taken;
  tokens_.settle(feedback.tokens_taken, used, now);
  if (shared_) shared_->tokens.settle(feedback.tokens_taken, used, now);
  heed(requests_, requests_configured_, feedback.headers.requests, throttled, now);
  heed(tokens_, tokens_configured_, feedback.headers.tokens, throttled, now);
  if (learnt_tokens_ != nullptr) learnt_tokens_->settle(feedback.tokens_taken, used, now);
  if (shared_) {
    const RateHeaders& headers = feedback.headers;
    heed_shared(shared_->requests, shared_->learnt_requests, learnt_requests_, requests_configured_, headers.requests, throttled,
                now);
    heed_shared(shared_->tokens, shared_->learnt_tokens, learnt_tokens_, tokens_configured_, headers.tokens, throttled, now);
  }
  if (throttled || overloaded) throttle(feedback, now);
  if (feedback.outcome == Outcome::failed || overloaded) {
    circuit_.failed(feedback.sent_at, now);
  } else {
    circuit_.succeeded();
  }
}

}  // namespace dmoerm::judge
