#include "eval/server_client.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <map>
#include <memory>
#include <unordered_map>
#include <utility>

#include "base/counted.h"
#include "base/error.h"
#include "base/log.h"
#include "base/rng.h"
#include "base/stop.h"
#include "judge/api_key.h"
#include "judge/chat_reply.h"
#include "judge/endpoint_errors.h"

namespace dmoerm::eval {
namespace {

using judge::HttpResult;
using judge::TimePoint;
using End = HttpResult::End;
using std::chrono::milliseconds;

constexpr std::size_t kReplyBytesMax = std::size_t{64} << 20;
constexpr milliseconds kStopCheck{200};  // longest time until a signal is noticed

/// One request that has no reply yet.
struct Request {
  std::size_t number = 0;
  std::string body;
  int failures = 0, throttles = 0;
  TimePoint sent_at;
};

const char* set_variable(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != 0 ? value : nullptr;
}

/// The server's key, if there is one. Warns where it goes over the network unencrypted.
judge::ApiKey load_key(const ServerAddress& address) {
  if (set_variable(kServerKey) == nullptr) return {};
  judge::ApiKey key = judge::ApiKey::load(kServerKey, "");
  if (judge::is_unprotected(address.url))
    spdlog::warn("[eval] server={} warning=\"http sends the API key and the texts unencrypted; use https\"", address.shown);
  return key;
}

bool is_throttled(const HttpResult& result) {
  return result.end == End::replied && (result.status == 429 || result.status == 503);
}

/// Whether the same request may be answered when it is sent again.
bool may_pass(const HttpResult& result) {
  if (result.end == End::not_reached || result.end == End::cut_off) return true;
  if (result.end != End::replied) return false;
  const bool never = result.status == 501 || result.status == 505;
  return result.status == 408 || result.status == 425 || result.status == 429 || (result.status >= 500 && !never);
}

class Asking {
 public:
  Asking(const ServerAddress& address, const ServerRequests& requests, const ServerPolicy& policy)
      : address_(address),
        requests_(requests),
        policy_(policy),
        key_(load_key(address)),
        rng_(policy.seed),
        concurrency_(policy.concurrency_max),
        http_(policy.concurrency_max, kReplyBytesMax) {
    judge::HttpTarget target;
    target.bearer = key_.secret();
    target.endpoint.url = address.url;
    target.endpoint.request_timeout_s = policy.request_timeout_s;
    if (const char* file = set_variable("SSL_CERT_FILE")) target.endpoint.ca_file = file;
    target_ = http_.add_target(std::move(target));
  }

  void run() {
    while (finished_ < requests_.count) {
      if (stop_requested())
        throw Stopped("stopped-while-scoring", fmt::format("asking {} was stopped by {}", address_.shown, stop_signal()));
      send(judge::Clock::now());
      for (HttpResult& result : http_.step(pause(judge::Clock::now()))) handle(result);
    }
  }

 private:
  /// The request to send next: one to repeat whose time has come, else one that was never sent; nullptr if there is none.
  std::unique_ptr<Request> next(TimePoint now) {
    if (!later_.empty() && later_.begin()->first <= now) {
      auto request = std::move(later_.begin()->second);
      later_.erase(later_.begin());
      return request;
    }
    if (begun_ == requests_.count) return nullptr;
    auto request = std::make_unique<Request>();
    request->number = begun_++;
    request->body = requests_.body(request->number);
    return request;
  }

  void send(TimePoint now) {
    if (now < held_until_) return;
    while (std::ssize(sent_) < concurrency_.limit()) {
      std::unique_ptr<Request> request = next(now);
      if (request == nullptr) return;
      request->sent_at = now;
      const Request& kept = *sent_.emplace(request->number, std::move(request)).first->second;
      http_.start(kept.number, target_, kept.body);
    }
  }

  /// How long to wait for replies before send() may have something to do.
  [[nodiscard]] milliseconds pause(TimePoint now) const {
    TimePoint until = now + kStopCheck;
    if (held_until_ > now) until = std::min(until, held_until_);
    if (!later_.empty() && later_.begin()->first > now) until = std::min(until, later_.begin()->first);
    return std::chrono::ceil<milliseconds>(until - now);
  }

  void handle(HttpResult& result) {
    auto node = sent_.extract(result.id);
    DMOERM_CHECK(!node.empty(), "a reply to a request that was not sent");
    std::unique_ptr<Request> request = std::move(node.mapped());
    if (judge::succeeded(result)) {
      concurrency_.replied(result.seconds, static_cast<int>(sent_.size()) + 1);
      result.body = key_.redact_data(std::move(result.body));  // some servers quote it
      requests_.reply(request->number, result);
      ++finished_;
    } else if (may_pass(result)) {
      repeat(std::move(request), result);
    } else {
      refuse(*request, result);
    }
  }

  void repeat(std::unique_ptr<Request> request, const HttpResult& result) {
    const TimePoint now = judge::Clock::now();
    const bool throttled = is_throttled(result);
    const int tries = throttled ? ++request->throttles : ++request->failures;
    if (tries >= (throttled ? policy_.throttled_tries_max : policy_.tries_max))
      throw IoError("server-does-not-answer",
                    fmt::format("{}; given up after {}", problem(*request, result), counted(tries, "try", "tries")));
    const double jitter = policy_.backoff.delay_s(tries - 1, rng_), asked = result.headers.retry_after_s.value_or(0);
    if (asked > policy_.pause_max_s)
      throw IoError("server-does-not-answer",
                    fmt::format("{}; it asks for a pause of {:.0f} s: run again after that", problem(*request, result), asked));
    if (throttled) concurrency_.throttled(request->sent_at, now);
    const TimePoint again = judge::after(now, asked > 0 ? asked + std::min(jitter, 0.2) : jitter);
    held_until_ = std::max(held_until_, again);  // a server in trouble is left alone, not only about this request
    later_.emplace(again, std::move(request));
  }

  /// "pairs.jsonl:3: g2: http://host/v1/reward answered 413: ..."
  [[nodiscard]] std::string problem(const Request& request, const HttpResult& result) const {
    const std::string place = fmt::format("{}: {}", requests_.place(request.number), address_.shown);
    if (result.end != End::replied) {
      const char* what = result.end == End::not_reached ? " cannot be reached" : "";
      return key_.redact(fmt::format("{}{}: {}", place, what, judge::one_line(result.problem)));
    }
    const std::string said = judge::parse_api_problem(result.body).message;
    return key_.redact(fmt::format("{} answered {}{}{}", place, result.status, said.empty() ? "" : ": ", said));
  }

  [[noreturn]] void refuse(const Request& request, const HttpResult& result) const {
    const std::string what = problem(request, result);
    if (result.end == End::untrusted)
      throw ConfigError("server-certificate",
                        what +
                            "; its certificate is not valid, and nothing was sent. For a server with a certificate of your own, "
                            "name the file of its certificate authority in SSL_CERT_FILE");
    if (result.end == End::other_scheme) throw ConfigError("server-scheme", what);
    if (result.end == End::too_big || result.end == End::long_headers) throw DataError("server-reply-unusable", what);
    if (result.status >= 300 && result.status < 400)
      throw ConfigError("server-redirects",
                        fmt::format("{}; this is a redirect to \"{}\", which is not followed: give the address "
                                    "that the server has",
                                    what, judge::one_line(key_.redact(result.location), 200)));
    if (result.status == 401 || result.status == 403)
      throw ConfigError("server-refuses-key", fmt::format(fmt::runtime(key_.empty() ? "{}; no API key was sent: set {} to it"
                                                                                    : "{}; check the API key in {}"),
                                                          what, kServerKey));
    if (result.status == 404 || result.status == 405 || result.status == 501)
      throw ConfigError("server-path-not-found",
                        fmt::format("{}; the path stands for the protocol {}: check it and, behind #, the name of the model",
                                    what, name_of(address_.protocol)));
    throw DataError("server-refused-request", what);
  }

  const ServerAddress& address_;
  const ServerRequests& requests_;
  ServerPolicy policy_;
  judge::ApiKey key_;
  Rng rng_;
  judge::AdaptiveConcurrency concurrency_;
  int target_ = -1;
  std::size_t begun_ = 0, finished_ = 0;
  std::unordered_map<std::uint64_t, std::unique_ptr<Request>> sent_;
  std::multimap<TimePoint, std::unique_ptr<Request>> later_;  ///< Requests to repeat, by the time from which they may go
  TimePoint held_until_ = TimePoint::min();                   ///< Nothing is sent before
  judge::HttpMulti http_;                                     ///< Last member, so destroyed first: it points at bodies in `sent_`
};

}  // namespace

void ask_server(const ServerAddress& address, const ServerRequests& requests, const ServerPolicy& policy) {
  Asking(address, requests, policy).run();
}

}  // namespace dmoerm::eval
