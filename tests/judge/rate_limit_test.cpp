// Tests rate limits, concurrency, backoff and circuit breaker against simulated servers, with simulated time.
#include "judge/rate_limit.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <deque>
#include <functional>
#include <map>
#include <vector>

#include "judge/endpoint_gate.h"

namespace dmoerm::judge {
namespace {

const TimePoint kStart = TimePoint{} + std::chrono::hours(1000);
TimePoint at(double seconds) { return after(kStart, seconds); }

TEST(TokenBucket, PacesEvenlyAtTheLimitAndNeverExceedsItInAnyMinute) {
  TokenBucket bucket(600);
  std::vector<double> taken;
  for (TimePoint now = kStart; seconds_between(kStart, now) < 180;) {
    const TimePoint ready = bucket.ready_at(1, now);
    if (ready > now) {
      now = ready;
      continue;
    }
    bucket.take(1, now);
    taken.push_back(seconds_between(kStart, now));
  }
  EXPECT_GE(taken.size(), 0.985 * 1800);
  for (std::size_t i = 600; i < taken.size(); ++i)
    ASSERT_GE(taken[i] - taken[i - 600], 60.0) << "601 requests within a minute, from number " << i - 600;
}

TEST(TokenBucket, IsAlwaysReadyWithoutALimit) {
  TokenBucket bucket(0);
  for (int i = 0; i < 10000; ++i) {
    ASSERT_EQ(bucket.ready_at(1e6, kStart), kStart);
    bucket.take(1e6, kStart);
  }
}

TEST(TokenBucket, AllowsAnAmountAboveTheBurstAndWaitsAfterwards) {
  TokenBucket bucket(6000);  // burst 30, 99 a second
  ASSERT_EQ(bucket.ready_at(990, kStart), kStart);
  bucket.take(990, kStart);
  EXPECT_NEAR(seconds_between(kStart, bucket.ready_at(1, kStart)), (990 - 30 + 1) / 99.0, 1e-3);
}

TEST(TokenBucket, SettlesTheDifferenceBetweenEstimateAndUse) {
  TokenBucket much(6000), little(6000);
  much.take(30, kStart);
  little.take(30, kStart);
  much.settle(30, 129, kStart);
  little.settle(30, 0, kStart);
  EXPECT_NEAR(seconds_between(kStart, much.ready_at(30, kStart)), 129 / 99.0, 1e-3);
  EXPECT_EQ(little.ready_at(30, kStart), kStart);
}

TEST(TokenBucket, DoesNotShortenAHold) {
  TokenBucket bucket(0);
  bucket.hold(at(10));
  bucket.hold(at(3));
  EXPECT_EQ(bucket.ready_at(1, at(5)), at(10));
  EXPECT_EQ(bucket.ready_at(1, at(12)), at(12));
}

TEST(TokenBucket, GainsNothingWhenTimeStandsStillOrRunsBackwards) {
  TokenBucket bucket(60);
  bucket.take(1, at(10));
  bucket.take(1, at(5));
  EXPECT_GT(bucket.ready_at(1, at(5)), at(6));
}

TEST(After, StaysInRange) {
  EXPECT_EQ(after(kStart, -3), kStart);
  EXPECT_EQ(after(kStart, std::nan("")), kStart);
  EXPECT_EQ(after(kStart, 1e300), kNever);
}

TEST(AdaptiveConcurrency, DoublesEachRoundTripWhileLatencyHolds) {
  AdaptiveConcurrency concurrency(256);
  int rounds = 0;
  while (concurrency.limit() < 256 && rounds < 100) {
    const int n = concurrency.limit();
    for (int i = 0; i < n; ++i) concurrency.replied(1.0, n);
    ++rounds;
  }
  EXPECT_LE(rounds, 7);
  for (int i = 0; i < 1000; ++i) concurrency.replied(1.0, 256);
  EXPECT_EQ(concurrency.limit(), 256);
}

TEST(AdaptiveConcurrency, StopsGrowingWhenRepliesTakeMuchLonger) {
  AdaptiveConcurrency concurrency(256);
  for (int i = 0; i < 20; ++i) concurrency.replied(1.0, concurrency.limit());
  for (int i = 0; i < 40; ++i) concurrency.replied(8.0, concurrency.limit());
  const int limit = concurrency.limit();
  for (int i = 0; i < 30; ++i) concurrency.replied(8.0, concurrency.limit());
  EXPECT_EQ(concurrency.limit(), limit);
  EXPECT_LT(limit, 64);
}

TEST(AdaptiveConcurrency, DoesNotGrowUnused) {
  AdaptiveConcurrency concurrency(256);
  for (int i = 0; i < 1000; ++i) concurrency.replied(1.0, 2);
  EXPECT_EQ(concurrency.limit(), 8);
}

TEST(AdaptiveConcurrency, HalvesOncePerRoundTripAndThenGrowsByOne) {
  AdaptiveConcurrency concurrency(256, 64);
  for (int i = 0; i < 40; ++i) concurrency.throttled(at(0), at(1 + 0.001 * i));  // all sent before the first was refused
  EXPECT_EQ(concurrency.limit(), 32);
  concurrency.throttled(at(2), at(3));
  EXPECT_EQ(concurrency.limit(), 16);
  for (int i = 0; i < 17; ++i) concurrency.replied(1.0, 16);
  EXPECT_EQ(concurrency.limit(), 17);
  for (int i = 0; i < 100; ++i) concurrency.throttled(at(10 + 2 * i), at(11 + 2 * i));
  EXPECT_EQ(concurrency.limit(), 1);
}

TEST(Backoff, IsSpreadOverTheWholeIntervalUpToTheCap) {
  const Backoff backoff{0.5, 60};
  Rng rng(7);
  for (const int attempt : {0, 3, 6, 20, 1000000}) {
    const double cap = std::min(60.0, 0.5 * std::exp2(std::min(attempt, 30)));
    double low = 1e9, high = 0, sum = 0;
    for (int i = 0; i < 4000; ++i) {
      const double delay = backoff.delay_s(attempt, rng);
      low = std::min(low, delay);
      high = std::max(high, delay);
      sum += delay;
    }
    EXPECT_LT(low, 0.01 * cap);
    EXPECT_GT(high, 0.99 * cap);
    EXPECT_LE(high, cap);
    EXPECT_NEAR(sum / 4000, cap / 2, 0.03 * cap);
  }
}

TEST(CircuitBreaker, OpensAfterFailuresInARowAndProbesOneAtATime) {
  CircuitBreaker circuit(3, 1, 8);
  circuit.failed(at(0), at(1));
  circuit.succeeded();
  circuit.failed(at(1), at(2));
  circuit.failed(at(1), at(2));
  EXPECT_EQ(circuit.ready_at(at(2)), at(2));
  circuit.failed(at(1), at(3));
  EXPECT_EQ(circuit.state(), CircuitBreaker::State::open);
  EXPECT_EQ(circuit.open_since(), at(3));
  EXPECT_EQ(circuit.ready_at(at(3)), at(4));
  circuit.failed(at(2.9), at(3.5));  // sent before it opened: says nothing new
  EXPECT_EQ(circuit.ready_at(at(3.5)), at(4));

  double open_s = 1;
  double now = 4;
  for (int probe = 0; probe < 6; ++probe) {
    circuit.sent(at(now));
    EXPECT_EQ(circuit.ready_at(at(now)), kNever);
    circuit.failed(at(2.9), at(now + 0.05));  // an old one cannot end the probe
    EXPECT_EQ(circuit.state(), CircuitBreaker::State::probing);
    circuit.failed(at(now), at(now + 0.1));
    open_s = std::min(8.0, open_s * 2);
    now += 0.1 + open_s;
    EXPECT_NEAR(seconds_between(kStart, circuit.ready_at(at(0))), now, 1e-6);
  }
  EXPECT_EQ(circuit.open_since(), at(3));
  circuit.sent(at(now));
  circuit.succeeded();
  EXPECT_EQ(circuit.state(), CircuitBreaker::State::closed);
  EXPECT_EQ(circuit.open_since(), kNever);
}

TEST(RateHeaders, ReadsEveryFormOfDuration) {
  EXPECT_EQ(parse_duration_s("6m0s"), 360);
  EXPECT_EQ(parse_duration_s("120ms"), 0.12);
  EXPECT_EQ(parse_duration_s("1s"), 1);
  EXPECT_EQ(parse_duration_s("1h2m3.5s"), 3723.5);
  EXPECT_EQ(parse_duration_s("1d2h"), 93600);
  EXPECT_EQ(parse_duration_s(" 17 "), 17);
  EXPECT_EQ(parse_duration_s("0"), 0);
  EXPECT_EQ(parse_duration_s("2m59.56s"), 179.56);
  for (const char* text : {"", "-1", "-1s", "s", "1x", "1m2", "nan", "inf", "1e9", "9999999999s", "1s garbage", "1 s", "0x10",
                           "--", "1m-2s", "Mon"}) {
    EXPECT_EQ(parse_duration_s(text), std::nullopt) << text;
  }
}

TEST(RateHeaders, ReadsDatesAgainstTheServersClock) {
  EXPECT_EQ(parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT"), 784111777);
  EXPECT_EQ(parse_http_date("Thu, 01 Jan 1970 00:00:00 GMT"), 0);
  for (const char* text :
       {"Sun, 31 Feb 1994 08:49:37 GMT", "Sun, 06 Nov 1994 24:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun, 06 Xxx 1994 08:49:37 GMT", "", "Sun, -6 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 CET"}) {
    EXPECT_EQ(parse_http_date(text), std::nullopt) << text;
  }
  EXPECT_EQ(parse_retry_after_s("Sun, 06 Nov 1994 08:50:07 GMT", "Sun, 06 Nov 1994 08:49:37 GMT"), 30);
  EXPECT_EQ(parse_retry_after_s("Sun, 06 Nov 1994 08:49:07 GMT", "Sun, 06 Nov 1994 08:49:37 GMT"), 0);
  EXPECT_EQ(parse_retry_after_s("Sun, 06 Nov 1994 08:50:07 GMT", ""), std::nullopt)
      << "without the server's clock a date says nothing";
  EXPECT_EQ(parse_retry_after_s("12", ""), 12);
}

TEST(RateHeaders, ReadsTheWaitsOfServersThatSayItOtherwise) {
  constexpr const char* kDate = "Sun, 06 Nov 1994 08:49:37 GMT";
  EXPECT_EQ(parse_iso_time("1994-11-06T08:49:37Z"), 784111777);
  EXPECT_EQ(parse_iso_time("1994-11-06T09:49:37.5+01:00"), 784111777.5);
  for (const char* text : {"1994-11-06", "1994-13-06T08:49:37Z", "1994-11-06T08:49:37X", "1994-11-06T25:49:37Z", ""})
    EXPECT_EQ(parse_iso_time(text), std::nullopt) << text;
  EXPECT_EQ(parse_retry_after_s("3 seconds", ""), 3);
  EXPECT_EQ(parse_retry_after_s("2 Minutes", ""), 120);
  EXPECT_EQ(parse_retry_after_s("500 ms", ""), 0.5);
  EXPECT_EQ(parse_retry_after_s("3, 3", ""), 3);
  EXPECT_EQ(parse_retry_after_s("3, 7, 5", ""), 7);
  EXPECT_EQ(parse_retry_after_s("1994-11-06T08:49:40Z", kDate), 3);
  const std::string date = "Sun, 29 Nov 2026 12:00:00 GMT";  // 1795953600
  EXPECT_EQ(parse_retry_after_s("1795953603", date), 3);
  EXPECT_EQ(parse_retry_after_s("1795953603250", date), 3.25);
  EXPECT_EQ(parse_retry_after_s("1795953000", date), 0) << "it is over";
  EXPECT_EQ(parse_retry_after_s("1795953603", ""), std::nullopt);
  for (const char* text : {"3 apples", "soon", "3, soon", ",", "1795953603000000", "99999999 seconds"})
    EXPECT_EQ(parse_retry_after_s(text, date), std::nullopt) << text;

  const auto wait = [&](const std::vector<std::pair<const char*, const char*>>& given) {
    RateHeaderReader reader;
    for (const auto& [name, value] : given) reader.add(name, value);
    reader.add("Date", date);  // it may come last
    return reader.get();
  };
  for (const char* name : {"X-RateLimit-Reset", "x-ratelimit-reset-requests", "x-ratelimit-reset-tokens", "ratelimit-reset",
                           "anthropic-ratelimit-requests-reset", "anthropic-ratelimit-input-tokens-reset"}) {
    EXPECT_EQ(wait({{name, "1795953603"}}).retry_after_s, 3) << name;
    EXPECT_EQ(wait({{name, "2026-11-29T12:00:03Z"}}).retry_after_s, 3) << name;
    EXPECT_EQ(wait({{name, "1795953603"}, {"retry-after", "1"}}).retry_after_s, 1) << name;
  }
  EXPECT_EQ(wait({{"x-ratelimit-reset", "1795953603000"}, {"x-ratelimit-remaining", "0"}}).retry_after_s, 3);
  EXPECT_EQ(wait({{"x-ratelimit-reset", "3600"}, {"x-ratelimit-remaining", "7"}}).retry_after_s, std::nullopt);
  EXPECT_EQ(wait({{"x-ms-retry-after-ms", "1500"}}).retry_after_s, 1.5);
  const RateHeaders anthropic = wait({{"anthropic-ratelimit-requests-limit", "50"},
                                      {"anthropic-ratelimit-requests-remaining", "0"},
                                      {"anthropic-ratelimit-requests-reset", "2026-11-29T12:00:03Z"},
                                      {"anthropic-ratelimit-tokens-remaining", "900"}});
  EXPECT_EQ(anthropic.requests.limit, 50);
  EXPECT_EQ(anthropic.requests.remaining, 0);
  EXPECT_EQ(anthropic.requests.reset_s, 3);
  EXPECT_EQ(anthropic.tokens.remaining, 900);
  EXPECT_EQ(anthropic.retry_after_s, std::nullopt) << "the limit of requests waits for its reset";
}

TEST(RateHeaders, CollectsTheLimitsOfAServer) {
  RateHeaderReader reader;
  reader.add("Retry-After", " 20\r\n");
  reader.add("X-RateLimit-Limit-Requests", "600");
  reader.add("x-ratelimit-remaining-requests", "599");
  reader.add("x-ratelimit-reset-requests", "100ms");
  reader.add("x-ratelimit-limit-tokens", "90000");
  reader.add("x-ratelimit-remaining-tokens", "-5");
  reader.add("x-ratelimit-reset-tokens", std::string(5000, '1'));
  reader.add("x-ratelimit-", "5");
  reader.add("", "5");
  RateHeaders headers = reader.get();
  EXPECT_EQ(headers.retry_after_s, 20);
  EXPECT_EQ(headers.requests.limit, 600);
  EXPECT_EQ(headers.requests.remaining, 599);
  EXPECT_EQ(headers.requests.reset_s, 0.1);
  EXPECT_EQ(headers.tokens.limit, 90000);
  EXPECT_EQ(headers.tokens.remaining, std::nullopt);
  EXPECT_EQ(headers.tokens.reset_s, std::nullopt);
  reader.add("retry-after-ms", "1500");
  EXPECT_EQ(reader.get().retry_after_s, 1.5) << "the finer header wins";
}

/// A server with a limit of requests a minute, counted in one of three ways.
class LimitedServer {
 public:
  enum class Way { sliding, fixed, bucket };
  LimitedServer(Way way, int limit) : way_(way), limit_(limit), level_(limit / 60.0) {}

  RateHeaders ask(double now, bool& accepted) {
    RateHeaders headers;
    headers.requests.limit = limit_;
    if (way_ == Way::bucket) {  // refills evenly and holds one second
      level_ = std::min(limit_ / 60.0, level_ + (now - last_) * limit_ / 60.0);
      last_ = now;
      accepted = level_ >= 1;
      if (accepted) level_ -= 1;
      headers.requests.remaining = std::floor(level_);
      headers.requests.reset_s = (limit_ / 60.0 - level_) / (limit_ / 60.0);
      if (!accepted) headers.retry_after_s = 1;
      return headers;
    }
    if (way_ == Way::fixed) {
      const double window = std::floor(now / 60) * 60;
      while (!times_.empty() && times_.front() < window) times_.pop_front();
      headers.requests.reset_s = window + 60 - now;
    } else {
      while (!times_.empty() && times_.front() <= now - 60) times_.pop_front();
      headers.requests.reset_s = times_.empty() ? 0.0 : times_.back() + 60 - now;
    }
    accepted = static_cast<int>(times_.size()) < limit_;
    if (!accepted) headers.retry_after_s = way_ == Way::fixed ? *headers.requests.reset_s : times_.front() + 60 - now;
    if (accepted) times_.push_back(now);
    headers.requests.remaining = limit_ - static_cast<int>(times_.size());
    return headers;
  }

 private:
  Way way_;
  int limit_;
  std::deque<double> times_;
  double level_, last_ = 0;
};

struct Simulated {
  int accepted = 0, rejected = 0;
  double used() const { return accepted / 3000.0; }
  double refused() const { return static_cast<double>(rejected) / std::max(1, accepted + rejected); }
};

config::EndpointConfig limits(double requests_per_minute, double tokens_per_minute = 0) {
  config::EndpointConfig endpoint;
  endpoint.requests_per_minute = requests_per_minute;
  endpoint.tokens_per_minute = tokens_per_minute;
  return endpoint;
}

/// Five minutes of a client that always has a question, over a network that takes 5 to 50 ms, with answers that take 0.3 to 2 s.
Simulated simulate(LimitedServer server, double configured) {
  EndpointGate gate(limits(configured), {}, 3);
  Rng rng(11);
  std::multimap<double, std::function<void(double)>> events;
  Simulated result;
  for (double now = 0; now < 300;) {
    const TimePoint ready = gate.ready_at(500, at(now));
    const double send_at = ready == kNever ? 1e9 : std::max(now, seconds_between(kStart, ready));
    if (!events.empty() && events.begin()->first <= send_at) {
      now = events.begin()->first;
      const auto event = std::move(events.begin()->second);
      events.erase(events.begin());
      event(now);
      continue;
    }
    now = send_at;
    if (gate.ready_at(500, at(now)) > at(now)) {
      now += 1e-6;
      continue;
    }
    const double sent = now;
    gate.sent(500, at(sent));
    events.emplace(sent + 0.005 + 0.045 * rng.uniform(), [&, sent](double arrived) {
      bool accepted = false;
      const RateHeaders headers = server.ask(arrived, accepted);
      accepted ? ++result.accepted : ++result.rejected;
      const double answered = arrived + (accepted ? 0.3 + 1.7 * rng.uniform() : 0.01);
      events.emplace(answered, [&, sent, headers, accepted](double received) {
        using Outcome = EndpointGate::Outcome;
        gate.done({accepted ? Outcome::answered : Outcome::throttled, at(sent), 500, 500, headers}, at(received));
      });
    });
  }
  return result;
}

TEST(EndpointGate, UsesALimitOf600AMinuteWithFewRefusals) {
  using Way = LimitedServer::Way;
  for (const Way way : {Way::sliding, Way::fixed, Way::bucket}) {
    const Simulated result = simulate(LimitedServer(way, 600), 600);
    EXPECT_GE(result.used(), 0.97) << "way " << static_cast<int>(way);
    EXPECT_LT(result.refused(), 0.005) << "way " << static_cast<int>(way);
    RecordProperty("used_" + std::to_string(static_cast<int>(way)), std::to_string(result.used()));
  }
}

TEST(EndpointGate, SharesConfiguredRatesWithOtherJudgesOfTheSameAddressAndKey) {
  RateRegistry registry;
  config::EndpointConfig endpoint = limits(60), slash = limits(120), elsewhere = limits(60);
  endpoint.url = "http://host/v1";
  slash.url = "http://host/v1/";
  elsewhere.url = "http://other/v1";
  EndpointGate one(endpoint, {}, 3, registry.of(endpoint, "key")), two(slash, {}, 3, registry.of(slash, "key"));
  EndpointGate other_key(endpoint, {}, 3, registry.of(endpoint, "another")),
      other(elsewhere, {}, 3, registry.of(elsewhere, "key"));
  one.sent(1, at(1));
  EXPECT_GT(two.ready_at(1, at(1)), at(1.5)) << "60 a minute for both, the lower of the two limits";
  EXPECT_EQ(other_key.ready_at(1, at(1)), at(1));
  EXPECT_EQ(other.ready_at(1, at(1)), at(1));
}

TEST(EndpointGate, SharesRequestsInFlightWithOtherJudgesOfTheSameAddressAndKey) {
  RateRegistry registry;
  config::EndpointConfig endpoint = limits(0);
  endpoint.url = "http://host/v1";
  endpoint.concurrency_max = 3;
  config::EndpointConfig wider = endpoint;
  wider.concurrency_max = 64;
  EndpointGate one(endpoint, {}, 3, registry.of(endpoint, "key")), two(wider, {}, 3, registry.of(wider, "key"));
  EndpointGate other_key(endpoint, {}, 3, registry.of(endpoint, "another"));
  one.sent(1, at(0));
  two.sent(1, at(0));
  two.sent(1, at(0));
  EXPECT_EQ(one.ready_at(1, at(1)), kNever) << "three for both together";
  EXPECT_EQ(two.ready_at(1, at(1)), kNever);
  EXPECT_EQ(other_key.ready_at(1, at(1)), at(1));
  two.done({EndpointGate::Outcome::answered, at(0), 1, 1, {}}, at(2));
  EXPECT_EQ(one.ready_at(1, at(2)), at(2));
}

/// Requests that two gates send in a minute if both always have a question and the server tells them these limits.
std::pair<int, int> sent_in_a_minute(double limit_of_one, double limit_of_two) {
  RateRegistry registry;
  config::EndpointConfig endpoint = limits(0);
  endpoint.url = "http://host/v1";
  EndpointGate one(endpoint, {}, 3, registry.of(endpoint, "key")), two(endpoint, {}, 3, registry.of(endpoint, "key"));
  std::pair<int, int> sent;
  for (double now = 0; now < 60; now += 0.05) {
    for (EndpointGate* gate : {&one, &two}) {
      if (gate->ready_at(1, at(now)) > at(now)) continue;
      RateHeaders headers;
      headers.requests = {gate == &one ? limit_of_one : limit_of_two, 50, 30};
      gate->sent(1, at(now));
      gate->done({EndpointGate::Outcome::answered, at(now), 1, 1, headers}, at(now + 0.01));
      ++(gate == &one ? sent.first : sent.second);
    }
  }
  return sent;
}

TEST(EndpointGate, SharesALearntLimitWithJudgesThatAreToldTheSame) {
  const auto [one, two] = sent_in_a_minute(120, 120);
  EXPECT_LE(one + two, 122);
  EXPECT_GE(one + two, 110);
  const auto [own_one, own_two] = sent_in_a_minute(120, 240);
  EXPECT_GE(own_one + own_two, 330) << "each model has a limit of its own";
  EXPECT_LE(own_one, 122);
}

TEST(EndpointGate, APauseThatTheServerAsksForHoldsOtherJudgesOfTheSameAddressAndKey) {
  RateRegistry registry;
  config::EndpointConfig endpoint = limits(0);
  endpoint.url = "http://host/v1";
  EndpointGate one(endpoint, {}, 3, registry.of(endpoint, "key")), two(endpoint, {}, 3, registry.of(endpoint, "key"));
  EndpointGate other_key(endpoint, {}, 3, registry.of(endpoint, "another"));
  RateHeaders headers;
  headers.retry_after_s = 17;
  one.sent(1, at(0));
  one.done({EndpointGate::Outcome::overloaded, at(0), 1, -1, headers}, at(1));
  EXPECT_EQ(two.ready_at(1, at(1)), at(1)) << "a model that is overloaded says nothing about others";
  one.sent(1, at(20));
  one.done({EndpointGate::Outcome::throttled, at(20), 1, -1, headers}, at(21));
  EXPECT_EQ(two.ready_at(1, at(21)), at(38));
  EXPECT_EQ(other_key.ready_at(1, at(21)), at(21));
}

TEST(EndpointGate, LearnsTheLimitFromTheHeaders) {
  const Simulated result = simulate(LimitedServer(LimitedServer::Way::sliding, 600), 0);
  EXPECT_GE(result.used(), 0.97);
  EXPECT_LT(result.refused(), 0.01);
}

TEST(EndpointGate, FindsTheLimitOfAServerThatGrantsLessThanConfigured) {
  const Simulated result = simulate(LimitedServer(LimitedServer::Way::sliding, 600), 1200);
  EXPECT_GE(result.used(), 0.80);
  EXPECT_LT(result.refused(), 0.10);
}

TEST(EndpointGate, IgnoresALimitADay) {
  EndpointGate gate(limits(0), {}, 3);
  gate.sent(1, at(0));
  RateHeaders headers;
  headers.requests = {1000, 999, 86.4};
  gate.done({EndpointGate::Outcome::answered, at(0), 1, 1, headers}, at(1));
  EXPECT_EQ(gate.requests_per_minute(), 0);
}

TEST(EndpointGate, WaitsForTheRetryAfterTime) {
  EndpointGate gate(limits(0), {}, 3);
  gate.sent(1, at(0));
  RateHeaders headers;
  headers.retry_after_s = 17;
  gate.done({EndpointGate::Outcome::throttled, at(0), 1, -1, headers}, at(1));
  EXPECT_EQ(gate.ready_at(1, at(1)), at(18));
  EXPECT_EQ(gate.concurrency(), 4);
}

TEST(EndpointGate, KeepsTheTokenLimit) {
  EndpointGate gate(limits(0, 60000), {}, 3);
  double now = 0, tokens = 0;
  while (now < 120) {
    const TimePoint ready = gate.ready_at(500, at(now));
    ASSERT_NE(ready, kNever);
    now = std::max(now + 1e-6, seconds_between(kStart, ready));
    if (gate.ready_at(500, at(now)) > at(now)) continue;
    gate.sent(500, at(now));
    gate.done({EndpointGate::Outcome::answered, at(now), 500, 800, {}}, at(now));  // it turns out to be more
    tokens += 800;
  }
  EXPECT_GE(tokens, 0.97 * 120000);
  EXPECT_LE(tokens, 120000 + 800);
}

TEST(EndpointGate, PausesBeforeAServerThatRefusesWithoutSayingForHowLong) {
  EndpointGate gate(limits(0), {1, 60}, 3);
  int asked = 0;
  for (double now = 0; now < 600;) {
    const TimePoint ready = gate.ready_at(1, at(now));
    now = std::max(now + 0.02, seconds_between(kStart, ready));
    gate.sent(1, at(now));
    gate.done({EndpointGate::Outcome::throttled, at(now), 1, -1, {}}, at(now + 0.01));
    ++asked;
  }
  EXPECT_LT(asked, 60) << "ten minutes of refusals";
  EXPECT_GT(asked, 10);
}

}  // namespace
}  // namespace dmoerm::judge
