#include "judge/judge_client.h"

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <limits>
#include <map>
#include <random>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "judge/chat_reply.h"
#include "judge/endpoint_errors.h"
#include "judge/endpoint_gate.h"
#include "judge/http_multi.h"

namespace dmoerm::judge {
namespace {

constexpr double kTokenBytesMax = 64;  // bytes of a request for each token that a server can have counted
constexpr int kUnclearRefusals = 3;    // 403 without a reason, after which the key counts as refused

/// One submitted request.
struct Request {
  std::uint64_t ticket = 0;
  std::string body;
  double tokens = 0;
  JudgeReply reply;  ///< Result so far
  int failures = 0, throttles = 0, bad_replies = 0;
  int endpoint = -1;  ///< Index of the endpoint asked last
  TimePoint first_sent = kNever, sent_at = kNever;
};

struct Server {
  EndpointErrors errors;
  EndpointGate gate;
  int target = -1;
};

}  // namespace

struct JudgeClient::Impl {
  Impl(const std::vector<config::EndpointConfig>& endpoints, const RetryPolicy& retry, RateRegistry* rates)
      : policy(retry), rng(retry.seed ? retry.seed : std::random_device{}()), http(connections(endpoints), retry.body_bytes_max) {
    if (endpoints.empty())
      throw ConfigError("judge-without-endpoint", "no endpoint to ask: name at least one address of a judge");
    for (const config::EndpointConfig& endpoint : endpoints) {
      EndpointErrors errors(endpoint, policy.total_time_s);
      const int target = http.add_target({.endpoint = endpoint, .path = "/chat/completions", .bearer = errors.key().secret()});
      EndpointGate gate(endpoint, {policy.backoff_base_s, policy.backoff_cap_s}, rng.next(),
                        rates != nullptr ? rates->of(endpoint, errors.key().secret()) : nullptr);
      servers.push_back(std::make_unique<Server>(Server{std::move(errors), std::move(gate), target}));
    }
  }

  static int connections(const std::vector<config::EndpointConfig>& endpoints) {
    std::int64_t sum = 8;
    for (const config::EndpointConfig& e : endpoints) sum += std::max<std::int64_t>(1, e.concurrency_max);
    return static_cast<int>(sum);
  }

  // --- sending ---

  /// The least busy endpoint that the request may go to now; nullptr if there is none, then `wake` is set to when one is ready.
  Server* choose(const Request& request, TimePoint now) {
    Server* best = nullptr;
    double best_load = 0;
    for (std::size_t i = 0; i < servers.size(); ++i) {
      Server& server = *servers[i];
      const TimePoint ready = server.gate.ready_at(request.tokens, now);
      if (ready > now) {
        wake = std::min(wake, ready);
        continue;
      }
      const double load = server.gate.in_flight() / static_cast<double>(server.gate.concurrency()) +
                          (static_cast<int>(i) == request.endpoint ? 1 : 0);
      if (!best || load < best_load) {
        best = &server;
        best_load = load;
      }
    }
    return best;
  }

  bool send(std::unique_ptr<Request>& request, TimePoint now) {
    if (sent.size() >= in_flight_max) return false;  // a reply makes room
    Server* server = choose(*request, now);
    if (!server) return false;
    server->gate.sent(request->tokens, now);
    request->sent_at = now;
    request->first_sent = std::min(request->first_sent, now);
    request->endpoint = static_cast<int>(
        std::find_if(servers.begin(), servers.end(), [&](const auto& s) { return s.get() == server; }) - servers.begin());
    http.start(request->ticket, server->target, request->body);
    sent[request->ticket] = std::move(request);
    return true;
  }

  void dispatch(TimePoint now) {
    wake = kNever;
    while (!later.empty() && later.begin()->first <= now) {
      if (!send(later.begin()->second, now)) break;
      later.erase(later.begin());
    }
    if (!later.empty()) {
      if (later.begin()->first <= now) return;  // no gate lets it through, so none lets a new request through
      wake = std::min(wake, later.begin()->first);
    }
    while (!queue.empty() && send(queue.front(), now)) queue.pop_front();
  }

  // --- receiving ---

  void finish(Request& request, JudgeReply::Status status, std::string detail, const RetryDecision& last = {}) {
    request.reply.ticket = request.ticket;
    request.reply.status = status;
    request.reply.http_status = last.http_status;
    request.reply.reason = last.reason;
    request.reply.detail = std::move(detail);
    tickets.erase(request.ticket);
    done.push_back(std::move(request.reply));
  }

  void cancel_waiting() {
    for (auto& request : queue) finish(*request, JudgeReply::cancelled, ended);
    for (auto& [time, request] : later) finish(*request, JudgeReply::cancelled, ended);
    queue.clear();
    later.clear();
  }

  /// Send nothing more.
  void end(std::string why) {
    if (ended.empty()) ended = std::move(why);
    cancel_waiting();
  }

  /// Read a body with a status of success.
  RetryDecision read_body(Request& request, EndpointErrors& errors, HttpResult& result) {
    const std::string body = errors.key().redact_data(std::move(result.body));
    ChatReply chat = parse_chat_reply(body);
    if (chat.kind == ChatReply::Kind::failed) {
      return errors.decide_on_report_inside(parse_api_problem(body), result.headers, result.asked, result.status,
                                            chat.completion_tokens > 0);
    }
    errors.accept_key();
    if (chat.kind == ChatReply::Kind::none)
      return errors.decide_on_no_answer(chat.problem, chat.completion_tokens > 0, result.asked, result.status);
    if (chat.kind == ChatReply::Kind::bad) return errors.decide_on_bad_body(chat.problem, result.asked, result.status);
    take_answer(request.reply, errors.key(), std::move(chat));
    ++stats.answered;
    RetryDecision decision;
    decision.status = request.reply.status;
    decision.http_status = result.status;
    return decision;
  }

  RetryDecision decide(Request& request, EndpointErrors& errors, HttpResult& result) {
    request.reply.tries += was_sent(result) ? 1 : 0;
    RetryDecision decision = succeeded(result) ? read_body(request, errors, result) : errors.decide(result);
    if (decision.next == RetryDecision::Next::retry_throttled && !decision.charged) ++request.reply.throttled_tries;
    if (decision.unclear && ++unclear_refusals < kUnclearRefusals) {
      decision.status = JudgeReply::error;
      decision.problem += fmt::format("; if {} questions in a row are refused so, the key counts as refused", kUnclearRefusals);
    }
    if (decision.status == JudgeReply::ok) unclear_refusals = 0;
    if (decision.charged) mark_billed(request, decision.problem);
    if (decision.next == RetryDecision::Next::retry_unreached && request.reply.tries == 0) request.first_sent = kNever;
    return decision;
  }

  void mark_billed(Request& request, const std::string& problem) {
    request.reply.billed_problem = problem;
    request.reply.maybe_billed = true;
    ++request.reply.billed_tries;
    ++stats.maybe_billed;
  }

  /// Whether the request may be sent again, counting the failure.
  bool may_retry(Request& request, RetryDecision::Next next, TimePoint now, double delay_s) const {
    using Next = RetryDecision::Next;
    if (next == Next::retry_unreached) return true;  // costs nothing; the circuit and the outage limit bound it
    int& count = next == Next::retry_throttled ? request.throttles
                 : next == Next::retry_bad     ? request.bad_replies
                                               : request.failures;
    const int max = next == Next::retry_throttled ? policy.throttled_tries_max
                    : next == Next::retry_bad     ? policy.bad_replies_max
                                                  : policy.tries_max;
    return ++count < max && seconds_between(request.first_sent, now) + delay_s <= policy.total_time_s;
  }

  double delay_s(const Request& request, RetryDecision::Next next, const RateHeaders& headers) {
    if (next == RetryDecision::Next::retry_unreached) return 0.05;
    const int attempt = request.failures + request.throttles + request.bad_replies;
    const double jitter = Backoff{policy.backoff_base_s, policy.backoff_cap_s}.delay_s(attempt, rng);
    return headers.retry_after_s ? *headers.retry_after_s + std::min(jitter, 1.0) : jitter;
  }

  void handle(HttpResult& result) {
    const TimePoint now = Clock::now();
    auto node = sent.extract(result.id);
    DMOERM_CHECK(!node.empty(), "a reply to a request that was not sent");
    std::unique_ptr<Request> request = std::move(node.mapped());
    Server& server = *servers[static_cast<std::size_t>(request->endpoint)];
    request->reply.seconds = result.seconds;
    if (servers.size() > 1) request->reply.endpoint = server.errors.shown();
    const RetryDecision decision = decide(*request, server.errors, result);
    const std::string& problem = decision.problem;
    count(decision, result);
    update_gate(server, *request, decision, result.headers, now);
    if (decision.next == RetryDecision::Next::finish) {
      if (ends_all(decision.status)) end(problem);
      finish(*request, decision.status, problem, decision);
      return;
    }
    if (!ended.empty()) {
      finish(*request, JudgeReply::cancelled, fmt::format("{}; the last try: {}", ended, problem), decision);
      return;
    }
    const double delay = delay_s(*request, decision.next, result.headers);
    if (!may_retry(*request, decision.next, now, delay)) {
      finish(*request, JudgeReply::error, fmt::format("given up after {} tries: {}", request->reply.tries, problem), decision);
      return;
    }
    using Next = RetryDecision::Next;
    const bool counts = decision.next == Next::retry || decision.next == Next::retry_bad || decision.charged;
    if (counts && may_repeat && !may_repeat(request->ticket, decision.charged)) {
      finish(*request, JudgeReply::error,
             fmt::format("not repeated, because a limit or the replies so far forbid it: {}", problem), decision);
      return;
    }
    last_problem = problem;
    later.emplace(after(now, delay), std::move(request));
  }

  void count(const RetryDecision& decision, const HttpResult& result) {
    using Next = RetryDecision::Next;
    if (!was_sent(result)) {
      ++stats.not_reached;
      return;
    }
    ++stats.sent;
    if (decision.next == Next::retry_throttled) {
      ++stats.throttled;
      stats.throttled_problem = decision.problem;
    } else if (decision.next != Next::finish || (decision.status != JudgeReply::ok && decision.status != JudgeReply::refused)) {
      ++stats.failed;
    }
  }

  void update_gate(Server& server, const Request& request, const RetryDecision& decision, const RateHeaders& headers,
                   TimePoint now) {
    const auto before = server.gate.circuit().state();
    const JudgeReply& reply = request.reply;
    const bool counted = decision.next == RetryDecision::Next::finish && reply.prompt_tokens >= 0 && reply.completion_tokens >= 0;
    double used = counted ? static_cast<double>(reply.prompt_tokens) + reply.completion_tokens : -1;
    if (used * kTokenBytesMax < static_cast<double>(request.body.size())) used = -1;  // the limit per minute must hold
    server.gate.done({decision.outcome, request.sent_at, request.tokens, used, headers}, now);
    const auto state = server.gate.circuit().state();
    if (decision.outcome == EndpointGate::Outcome::answered || decision.outcome == EndpointGate::Outcome::throttled) met = true;
    if (decision.next == RetryDecision::Next::finish && state != CircuitBreaker::State::closed)
      return;  // the reply ends everything, and its message says why
    if (before == CircuitBreaker::State::closed && state == CircuitBreaker::State::open) {
      spdlog::warn("[label] endpoint={} circuit=open reason=\"{}\": trying again until it works", server.errors.shown(),
                   decision.problem);
    } else if (before != CircuitBreaker::State::closed && state == CircuitBreaker::State::closed) {
      spdlog::info("[label] endpoint={} circuit=closed: it works again", server.errors.shown());
    }
  }

  /// Ends everything when no endpoint has worked for too long.
  void check_outage(TimePoint now) {
    if (!ended.empty()) return;
    TimePoint since = TimePoint::min();
    for (const auto& server : servers) since = std::max(since, server->gate.circuit().open_since());
    const double limit = met ? policy.outage_max_s : policy.first_contact_max_s;
    if (since == kNever || seconds_between(since, now) < limit) {
      if (since != kNever) wake = std::min(wake, after(since, limit));
      return;
    }
    const std::string why =
        fmt::format("no judge has worked for {:.0f} s, the last problem: {}; run again when one works", limit, last_problem);
    auto first = later.empty() ? nullptr : std::move(later.begin()->second);
    if (first) later.erase(later.begin());
    if (!first && !queue.empty()) {
      first = std::move(queue.front());
      queue.pop_front();
    }
    if (!first) return;
    finish(*first, JudgeReply::unreachable, why);
    end(why);
  }

  std::vector<JudgeReply> poll(std::chrono::milliseconds wait) {
    const TimePoint until = Clock::now() + std::clamp(wait, std::chrono::milliseconds(0), std::chrono::milliseconds(3'600'000));
    for (;;) {
      const TimePoint now = Clock::now();
      if (ended.empty()) dispatch(now);
      check_outage(now);
      if (tickets.empty()) break;
      const TimePoint next = done.empty() ? std::min(until, wake) : now;
      const auto pause = next > now ? std::chrono::ceil<std::chrono::milliseconds>(next - now) : std::chrono::milliseconds(0);
      for (HttpResult& result : http.step(pause)) handle(result);
      if (!done.empty() || Clock::now() >= until) break;
    }
    return std::exchange(done, {});
  }

  RetryPolicy policy;
  Rng rng;
  std::vector<std::unique_ptr<Server>> servers;
  std::deque<std::unique_ptr<Request>> queue;                ///< Requests that were never sent
  std::multimap<TimePoint, std::unique_ptr<Request>> later;  ///< Requests to repeat, by the time from which they may go
  std::unordered_map<std::uint64_t, std::unique_ptr<Request>> sent;
  std::unordered_set<std::uint64_t> tickets;  ///< Tickets in queue, later and sent
  std::vector<JudgeReply> done;
  std::string ended;  ///< Reason why nothing more is sent; empty while all is well
  std::string last_problem;
  std::size_t in_flight_max = std::numeric_limits<std::size_t>::max();
  int unclear_refusals = 0;  ///< 403 without a reason, before any answer
  TimePoint wake = kNever;   ///< Earliest time at which a waiting request may go
  bool met = false;          ///< Whether an endpoint has ever answered
  ClientStats stats;
  std::function<bool(std::uint64_t, bool)> may_repeat;
  HttpMulti http;  ///< Last member, so destroyed first: it points at the bodies in `sent`
};

JudgeClient::JudgeClient(const std::vector<config::EndpointConfig>& endpoints, RetryPolicy policy, RateRegistry* rates)
    : impl_(std::make_unique<Impl>(endpoints, policy, rates)) {}
JudgeClient::~JudgeClient() = default;

void JudgeClient::submit(std::uint64_t ticket, std::string body, std::int32_t tokens_estimate) {
  DMOERM_CHECK(!full(), "submit() to a full judge client");
  DMOERM_CHECK(impl_->tickets.insert(ticket).second, "two requests with one ticket");
  auto request = std::make_unique<Request>();
  request->ticket = ticket;
  request->body = std::move(body);
  request->tokens = tokens_estimate;
  if (impl_->ended.empty()) {
    impl_->queue.push_back(std::move(request));
  } else {
    impl_->finish(*request, JudgeReply::cancelled, impl_->ended);
  }
}

bool JudgeClient::full() const { return impl_->queue.size() + impl_->later.size() >= impl_->policy.queue_max; }
std::size_t JudgeClient::in_flight() const { return impl_->http.in_flight(); }
std::size_t JudgeClient::pending() const { return impl_->tickets.size() + impl_->done.size(); }
void JudgeClient::ask_before_repeating(std::function<bool(std::uint64_t, bool)> may_repeat) {
  impl_->may_repeat = std::move(may_repeat);
}
void JudgeClient::stop_submitting() { impl_->end("stopped at request"); }
void JudgeClient::send(std::size_t in_flight_max) {
  impl_->in_flight_max = in_flight_max;
  if (impl_->ended.empty()) impl_->dispatch(Clock::now());
}
std::vector<JudgeReply> JudgeClient::poll(std::chrono::milliseconds wait) { return impl_->poll(wait); }

ClientStats JudgeClient::stats() const { return impl_->stats; }

}  // namespace dmoerm::judge
