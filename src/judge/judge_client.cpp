#include "judge/judge_client.h"

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <map>
#include <random>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "judge/chat_reply.h"
#include "judge/endpoint_gate.h"
#include "judge/endpoint_words.h"
#include "judge/http_multi.h"

namespace dmoerm::judge {
namespace {

/// One submitted request.
struct Request {
  std::uint64_t ticket = 0;
  std::string body;
  double tokens = 0;
  JudgeReply reply;  ///< what is known so far
  int failures = 0, throttles = 0, bad_replies = 0;
  int endpoint = -1;  ///< asked last
  TimePoint first_sent = kNever, sent_at = kNever;
};

struct Server {
  EndpointWords words;
  EndpointGate gate;
  int target = -1;
};

const char* name_of(CircuitBreaker::State state) {
  return state == CircuitBreaker::State::closed ? "closed" : state == CircuitBreaker::State::open ? "open" : "probing";
}

}  // namespace

std::string_view to_string(JudgeReply::Status status) {
  constexpr std::string_view kNames[] = {
      "ok", "refused", "error", "cancelled", "unauthorised", "model_unknown", "quota_exhausted", "untrusted", "unreachable"};
  return kNames[status];
}

bool ends_all(JudgeReply::Status status) { return status >= JudgeReply::unauthorised; }

struct JudgeClient::Impl {
  Impl(std::vector<Endpoint> endpoints, const RetryPolicy& retry)
      : policy(retry), rng(retry.seed ? retry.seed : std::random_device{}()), http(connections(endpoints), retry.body_bytes_max) {
    if (endpoints.empty()) throw ConfigError("no endpoint to ask: name at least one address of a judge");
    for (const Endpoint& spec : endpoints) {
      EndpointWords words(spec, policy.total_time_s);
      const int target = http.add_target({join_url(spec.url, "/chat/completions"), words.key().secret(), spec.ca_file,
                                          spec.connect_timeout_s, spec.request_timeout_s});
      const GateLimits limits{spec.requests_per_minute,
                              spec.tokens_per_minute,
                              spec.concurrency_max,
                              5,
                              {policy.backoff_base_s, policy.backoff_cap_s}};
      servers.push_back(std::make_unique<Server>(Server{std::move(words), EndpointGate(limits, rng.next()), target}));
    }
  }

  static int connections(const std::vector<Endpoint>& endpoints) {
    int sum = 8;
    for (const Endpoint& e : endpoints) sum += std::max(1, e.concurrency_max);
    return sum;
  }

  // --- towards the wire ---

  /// The endpoint that may be sent the request now, or nothing; then `wake` is brought forward to when one may.
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
    Server* server = choose(*request, now);
    if (!server) return false;
    server->gate.sent(request->tokens, now);
    request->sent_at = now;
    request->first_sent = std::min(request->first_sent, now);
    request->endpoint = static_cast<int>(
        std::find_if(servers.begin(), servers.end(), [&](const auto& s) { return s.get() == server; }) - servers.begin());
    http.start(request->ticket, server->target, request->body);
    wire[request->ticket] = std::move(request);
    return true;
  }

  void dispatch(TimePoint now) {
    wake = kNever;
    while (!later.empty() && later.begin()->first <= now) {
      if (!send(later.begin()->second, now)) break;
      later.erase(later.begin());
    }
    if (!later.empty()) {
      if (later.begin()->first <= now) return;  // it waits for a gate, and so would the others
      wake = std::min(wake, later.begin()->first);
    }
    while (!queue.empty() && send(queue.front(), now)) queue.pop_front();
  }

  // --- from the wire ---

  void finish(Request& request, JudgeReply::Status status, std::string detail) {
    request.reply.ticket = request.ticket;
    request.reply.status = status;
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

  /// Send nothing from now on.
  void end(std::string why) {
    if (ended.empty()) ended = std::move(why);
    cancel_waiting();
  }

  /// A usable or useless reply of status 200.
  Judgement judge_body(Request& request, const EndpointWords& words, HttpResult& result) {
    const std::string body = words.key().redact_data(std::move(result.body));
    ChatReply chat = parse_chat_reply(body);
    if (chat.kind == ChatReply::Kind::failed) {
      const ApiProblem report = parse_api_problem(body);
      return words.judge_status(report.status ? report.status : 500, report, result.headers);
    }
    if (chat.kind == ChatReply::Kind::bad) return words.judge_bad(chat.problem);
    take_answer(request.reply, words.key(), std::move(chat));
    ++stats.answered;
    Judgement judgement;
    judgement.status = request.reply.status;
    return judgement;
  }

  Judgement judge(Request& request, const EndpointWords& words, HttpResult& result) {
    request.reply.tries += was_sent(result) ? 1 : 0;
    const bool replied = result.end == HttpResult::End::replied;
    Judgement judgement = replied && result.status == 200 ? judge_body(request, words, result) : words.judge(result);
    if (judgement.next == Judgement::Next::retry_bad || result.end == HttpResult::End::cut_off) mark_billed(request);
    if (judgement.next == Judgement::Next::retry_unreached && request.reply.tries == 0) request.first_sent = kNever;
    return judgement;
  }

  void mark_billed(Request& request) {
    request.reply.maybe_billed = true;
    ++request.reply.billed_tries;
    ++stats.maybe_billed;
  }

  /// Whether the request may be sent again, counting the failure.
  bool may_retry(Request& request, Judgement::Next next, TimePoint now, double delay_s) const {
    using Next = Judgement::Next;
    if (next == Next::retry_unreached) return true;  // costs nothing; the circuit and the outage limit bound it
    int& count = next == Next::retry_throttled ? request.throttles
                 : next == Next::retry_bad     ? request.bad_replies
                                               : request.failures;
    const int max = next == Next::retry_throttled ? policy.throttled_tries_max
                    : next == Next::retry_bad     ? policy.bad_replies_max
                                                  : policy.tries_max;
    return ++count < max && seconds_between(request.first_sent, now) + delay_s <= policy.total_time_s;
  }

  double delay_s(const Request& request, Judgement::Next next, const RateHeaders& headers) {
    if (next == Judgement::Next::retry_unreached) return 0.05;
    const int attempt = request.failures + request.throttles + request.bad_replies;
    const double jitter = Backoff{policy.backoff_base_s, policy.backoff_cap_s}.delay_s(attempt, rng);
    return headers.retry_after_s ? *headers.retry_after_s + std::min(jitter, 1.0) : jitter;
  }

  void handle(HttpResult& result) {
    const TimePoint now = Clock::now();
    auto node = wire.extract(result.id);
    DMOERM_CHECK(!node.empty(), "a reply to a request that is not on the wire");
    std::unique_ptr<Request> request = std::move(node.mapped());
    Server& server = *servers[static_cast<std::size_t>(request->endpoint)];
    request->reply.seconds = result.seconds;
    const Judgement judgement = judge(*request, server.words, result);
    const std::string& problem = judgement.problem;
    count(judgement, result);
    tell_gate(server, *request, judgement, result.headers, now);
    if (judgement.next == Judgement::Next::finish) {
      if (ends_all(judgement.status)) end(problem);
      finish(*request, judgement.status, problem);
      return;
    }
    if (!ended.empty()) {
      finish(*request, JudgeReply::cancelled, fmt::format("{}; the last try: {}", ended, problem));
      return;
    }
    const double delay = delay_s(*request, judgement.next, result.headers);
    if (!may_retry(*request, judgement.next, now, delay)) {
      finish(*request, JudgeReply::error, fmt::format("given up after {} tries: {}", request->reply.tries, problem));
      return;
    }
    const bool paid = judgement.next == Judgement::Next::retry_bad || result.end == HttpResult::End::cut_off;
    if (paid && may_repeat && !may_repeat(request->ticket)) {
      finish(*request, JudgeReply::error, fmt::format("not repeated, because the budget does not allow it: {}", problem));
      return;
    }
    last_problem = problem;
    later.emplace(after(now, delay), std::move(request));
  }

  void count(const Judgement& judgement, const HttpResult& result) {
    using Next = Judgement::Next;
    if (!was_sent(result)) {
      ++stats.not_reached;
      return;
    }
    ++stats.sent;
    if (judgement.next == Next::retry_throttled) {
      ++stats.throttled;
    } else if (judgement.next != Next::finish ||
               (judgement.status != JudgeReply::ok && judgement.status != JudgeReply::refused)) {
      ++stats.failed;
    } else {
      stats.latency_s += result.seconds;
    }
  }

  void tell_gate(Server& server, const Request& request, const Judgement& judgement, const RateHeaders& headers, TimePoint now) {
    const auto before = server.gate.circuit().state();
    const JudgeReply& reply = request.reply;
    const bool counted = judgement.next == Judgement::Next::finish && reply.prompt_tokens >= 0 && reply.completion_tokens >= 0;
    const double used = counted ? static_cast<double>(reply.prompt_tokens) + reply.completion_tokens : -1;
    server.gate.done({judgement.outcome, request.sent_at, request.tokens, used, headers}, now);
    const auto state = server.gate.circuit().state();
    if (judgement.outcome == EndpointGate::Outcome::answered || judgement.outcome == EndpointGate::Outcome::throttled) met = true;
    if (judgement.next == Judgement::Next::finish && state != CircuitBreaker::State::closed)
      return;  // it ends everything, and says so
    if (before == CircuitBreaker::State::closed && state == CircuitBreaker::State::open) {
      spdlog::warn("[label] endpoint={} circuit=open reason=\"{}\": trying again until it works", server.words.shown(),
                   judgement.problem);
    } else if (before != CircuitBreaker::State::closed && state == CircuitBreaker::State::closed) {
      spdlog::info("[label] endpoint={} circuit=closed: it works again", server.words.shown());
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
        fmt::format("no judge has worked for {:.0f} s, the last problem: {}; run again when it works", limit, last_problem);
    auto first = later.empty() ? nullptr : std::move(later.begin()->second);
    if (first) later.erase(later.begin());
    if (!first && !queue.empty()) first = std::move(queue.front()), queue.pop_front();
    if (!first) return;
    finish(*first, JudgeReply::unreachable, why);
    end(why);
  }

  std::vector<JudgeReply> poll(std::chrono::milliseconds wait) {
    const TimePoint until = Clock::now() + std::clamp(wait, std::chrono::milliseconds(0), std::chrono::milliseconds(3'600'000));
    for (;;) {
      TimePoint now = Clock::now();
      if (ended.empty()) dispatch(now);
      check_outage(now);
      if (tickets.empty()) break;
      const TimePoint next = done.empty() ? std::min(until, wake) : now;
      const auto pause = next > now ? std::chrono::ceil<std::chrono::milliseconds>(next - now) : std::chrono::milliseconds(0);
      for (HttpResult& result : http.step(pause)) handle(result);
      now = Clock::now();
      if (!done.empty() || now >= until) {
        if (ended.empty()) dispatch(now);  // what became free is used before the caller thinks about the replies
        break;
      }
    }
    return std::exchange(done, {});
  }

  RetryPolicy policy;
  Rng rng;
  std::vector<std::unique_ptr<Server>> servers;
  std::deque<std::unique_ptr<Request>> queue;                ///< not sent yet
  std::multimap<TimePoint, std::unique_ptr<Request>> later;  ///< to be sent again, by when
  std::unordered_map<std::uint64_t, std::unique_ptr<Request>> wire;
  std::unordered_set<std::uint64_t> tickets;  ///< of queue, later and wire
  std::vector<JudgeReply> done;
  std::string ended;  ///< why nothing is sent any more; empty while all is well
  std::string last_problem;
  TimePoint wake = kNever;  ///< when something that waits may go
  bool met = false;         ///< an endpoint has answered
  ClientStats stats;
  std::function<bool(std::uint64_t)> may_repeat;
  HttpMulti http;  ///< goes first: it still points at the bodies in `wire`
};

JudgeClient::JudgeClient(std::vector<Endpoint> endpoints, RetryPolicy policy)
    : impl_(std::make_unique<Impl>(std::move(endpoints), policy)) {}
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
void JudgeClient::ask_before_repeating(std::function<bool(std::uint64_t)> may_repeat) {
  impl_->may_repeat = std::move(may_repeat);
}
void JudgeClient::stop_submitting() { impl_->end("stopped at request"); }
std::vector<JudgeReply> JudgeClient::poll(std::chrono::milliseconds wait) { return impl_->poll(wait); }

ClientStats JudgeClient::stats() const {
  ClientStats stats = impl_->stats;
  for (const auto& server : impl_->servers) {
    stats.endpoints.push_back({server->words.shown(), name_of(server->gate.circuit().state()), server->gate.in_flight(),
                               server->gate.concurrency(), server->gate.requests_per_minute()});
  }
  return stats;
}

}  // namespace dmoerm::judge
