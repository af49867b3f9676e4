#include "serve/service.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "base/log.h"
#include "base/text.h"
#include "serve/addresses.h"
#include "serve/callers.h"
#include "serve/patience.h"
#include "serve/problem.h"
#include "serve/scored_texts.h"
#include "wire/describe.h"
#include "wire/parse.h"
#include "wire/render_error.h"

namespace dmoerm::serve {
namespace {

using nlohmann::json;

/// All capability points of a model, each once.
std::vector<std::string> points_of(const moe::Model& model) {
  std::set<std::string> points;
  for (const moe::Category& category : model.categories) points.insert(category.points.begin(), category.points.end());
  return {points.begin(), points.end()};
}

/// The whole of a header as a number that is not negative, or nothing.
std::optional<double> number_of(const std::string& text) {
  double value = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (problem != std::errc() || end != text.data() + text.size() || !(value >= 0) || std::isinf(value)) return std::nullopt;
  return value;
}

}  // namespace

/// A request on its way.
struct Service::Call {
  std::shared_ptr<Exchange> exchange;
  wire::Endpoint endpoint;
  wire::Family family = wire::Family::own;
  wire::Request request;
  std::shared_ptr<const Loaded> loaded;
  Ask ask;
  std::vector<Found> found{};  ///< For each group
  std::int64_t tokens = 0;
  double patience_s = 0;  ///< Seconds that its client waits
  std::uint64_t number = 0;

  [[nodiscard]] Clock::time_point came() const { return exchange->request.came; }
  [[nodiscard]] Patience patience() const { return {family, patience_s, seconds_since(came())}; }
};

Service::Service(const ServiceOptions& options, const EngineOptions& engine, Bundles& bundles)
    : options_(options),
      bundles_(bundles),
      reloader_(1, "the thread that reads bundles again"),
      workers_(std::make_unique<Workers>(options.workers, "a thread that reads requests")),
      engine_(engine, [this](const BatchFacts& batch) { metrics_.batch(batch); }) {}

Service::~Service() = default;

HttpAnswer Service::refuse(const HttpRequest& request, int status, ErrorCode code, const std::string& message) {
  count(request, status, 0);
  return refusal_of(request, status, code, message);
}

void Service::count(const HttpRequest& request, int status, double seconds) {
  if (!request.counted) metrics_.request(label_of(request.path), status, seconds);
  if (!options_.verbose) return;
  std::string path = request.path;  // a client could write lines of its own otherwise
  std::ranges::replace_if(
      path, [](char c) { return (c >= 0 && c < ' ') || c == '\x7f'; }, '?');
  spdlog::info("[serve] {} {} from {}: {} in {:.1f} ms", request.method, path, request.peer, status, seconds * 1e3);
}

std::optional<HttpAnswer> Service::check(const HttpRequest& request) {
  const bool reads = request.method == "GET" || request.method == "HEAD";
  const Standing standing = draining_ ? Standing::draining : Standing::ready;
  if (auto answer = options_.behind_front ? std::nullopt : answer_at_once(request, options_.api_keys, standing); answer) {
    count(request, answer->status, 0);
    return answer;
  }
  if (request.path == "/info" || request.path == "/metrics" || request.path == "/health" || request.path == "/ready")
    return reads ? serve_get(request)
                 : refuse(request, 405, ErrorCode("method-not-allowed"),
                          fmt::format("{} is asked with GET, not with {}", request.path, request.method));
  if (request.path == "/admin/reload") {
    if (request.method == "POST") return std::nullopt;
    return refuse(request, 405, ErrorCode("method-not-allowed"),
                  fmt::format("/admin/reload is asked with POST, not with {}", request.method));
  }
  try {
    const auto endpoint = wire::find_endpoint(request.method, request.path);
    if (!endpoint) return refuse(request, 404, ErrorCode("unknown-endpoint"), unknown_address(request.path));
    if (!wire::scores_texts(endpoint->path)) return describe(request, *endpoint);
  } catch (const wire::RequestError& e) {
    return refuse(request, e.status(), e.code(), e.what());
  }
  return std::nullopt;
}

HttpAnswer Service::describe(const HttpRequest& request, const wire::Endpoint& endpoint) {
  const bool ready = !draining_;
  wire::ServerFacts facts{options_.version, ready, options_.limits.texts_max, {}};
  for (const std::string& name : bundles_.all_names()) {
    const auto loaded = bundles_.find(name);
    facts.models.push_back({name, loaded->name, loaded->created, loaded->bundle->model.limits.layout.max_length, ready});
  }
  wire::Described described = wire::describe(endpoint, facts);
  count(request, described.status, 0);
  return json_answer(described.body, described.status);
}

HttpAnswer Service::serve_get(const HttpRequest& request) {
  HttpAnswer answer;
  if (request.path == "/metrics") {
    answer = {200, metrics_.text(gauges()), "text/plain; version=0.0.4; charset=utf-8"};
  } else {
    const auto first = bundles_.find("");
    answer = json_answer({{"name", "dmoerm"},
                          {"version", options_.version},
                          {"model_id", first->name},
                          {"max_input_length", first->bundle->model.limits.layout.max_length},
                          {"max_client_batch_size", options_.limits.texts_max},
                          {"max_request_tokens", options_.request_tokens_max},
                          {"deadline_s", options_.deadline_s},
                          {"normalise", wire::name_of(options_.limits.normalise)},
                          {"draining", draining_.load()},
                          {"endpoints", address_names()},
                          {"models", bundles_.info()}});
  }
  count(request, answer.status, 0);
  return answer;
}

Gauges Service::gauges() const {
  Gauges gauges{.queue = engine_.state(), .reloads = bundles_.reloads(), .ready = !draining_};
  if (const HttpServer* server = server_; server != nullptr) gauges.connections = server->gauges();
  return gauges;
}

void Service::handle(std::shared_ptr<Exchange> exchange) {
  if (exchange->request.path == "/admin/reload") {
    const std::string& sent = exchange->request.body;
    const json body = sent.empty() ? json::object() : json::parse(sent, nullptr, false);
    const bool named = body.is_object() && body.size() == 1 && body.contains("model") && body["model"].is_string();
    if (!named && !(body.is_object() && body.empty()))
      return exchange->answer(refuse(exchange->request, 400, ErrorCode("body-field-wrong-type"),
                                     "the body: expected {\"model\": NAME} to read one bundle again, or nothing for all"));
    return reload(named ? body["model"].get<std::string>() : "", std::move(exchange));
  }
  auto call = std::make_shared<Call>();
  call->exchange = std::move(exchange);
  call->number = ++requests_;
  workers_->post([this, call] { prepare(call); });
}

void Service::reload(const std::string& name, std::shared_ptr<Exchange> exchange, std::function<void()> done) {
  const auto loaded = bundles_.find(name);
  if (loaded == nullptr) {
    if (exchange != nullptr)
      exchange->answer(
          refuse(exchange->request, 404, ErrorCode("unknown-model"), wire::unknown_model(name, bundles_.all_names())));
    if (done) done();
    return;
  }
  const std::string own = name.empty() ? "" : loaded->name;
  {
    const std::lock_guard lock(reloads_mutex_);
    std::vector<Asker>& askers = reloads_[own];
    askers.push_back({std::move(exchange), std::move(done)});
    if (askers.size() > 1) return;
  }
  reloader_.post([this, own] { read_again(own); });
}

/// Read bundles again, and tell all who wait for that.
void Service::read_again(const std::string& name) {
  std::vector<Asker> askers;
  {
    const std::lock_guard lock(reloads_mutex_);
    askers = std::move(reloads_[name]);
    reloads_.erase(name);  // who asks from now on may have written a bundle that this reading misses
  }
  const Clock::time_point begun = Clock::now();
  HttpAnswer answer;
  try {
    bundles_.reload(name);
    answer = json_answer({{"status", "reloaded"}, {"seconds", seconds_since(begun)}, {"models", bundles_.info()}});
  } catch (const std::exception& e) {
    const int status = dynamic_cast<const ConfigError*>(&e) != nullptr ? 404 : 409;
    const Problem problem = problem_of(e);
    spdlog::error("[serve] the bundle was not read again, the old one stays: {}", with_code(problem.words, problem.code));
    answer = json_answer(wire::render_error(wire::Family::own, status, problem.code, problem.words), status);
  }
  for (const Asker& asker : askers) {
    if (asker.done) asker.done();
    if (asker.exchange == nullptr) continue;
    count(asker.exchange->request, answer.status, seconds_since(begun));
    asker.exchange->answer(answer);
  }
}

/// Read a request and queue it, or refuse it.
void Service::prepare(const std::shared_ptr<Call>& call) {
  const HttpRequest& request = call->exchange->request;
  const auto refuse = [&](int status, ErrorCode code, const std::string& message) {
    answer(*call, json_answer(wire::render_error(call->family, status, code, message), status));
  };
  try {
    call->endpoint = wire::find_endpoint(request.method, request.path).value();
    call->family = wire::family_of(call->endpoint.path);
    call->patience_s = patience_of(request, call->family);
    call->ask.deadline = call->came() + duration_of(usable_s(call->patience_s));
    if (engine_.full() && fits_alone(*call)) return answer(*call, queue_full(call->family, engine_.retry_after_s()));
    if (const Patience patience = call->patience(); waited_long(patience, 0)) return answer(*call, too_late(patience, 0));
    std::optional<std::size_t> json_length;
    if (const auto length = number_of(request.header("inference-header-content-length")); length)
      json_length = static_cast<std::size_t>(std::min(*length, 1e15));
    call->request = wire::parse(call->endpoint, request.body, options_.limits, json_length);
    call->family = call->request.family;
    unread_.tell(label_of(request.path), call->request.unread);
    const std::string& model = call->request.model;
    call->loaded = bundles_.find(model);
    if (call->loaded == nullptr)
      throw wire::RequestError("unknown-model", 404, call->family, wire::unknown_model(model, bundles_.all_names()));
    call->ask.client = options_.keys_take_turns ? key_of(request) : fmt::format("{}", request.connection);
    read_texts(*call);
    submit(call);
  } catch (const wire::RequestError& e) {
    call->family = e.family();
    refuse(e.status(), e.code(), e.what());
  } catch (const DataError& e) {
    refuse(422, e.code(), e.what());
  } catch (const std::exception& e) {
    const Problem problem = problem_of(e);
    spdlog::error("[serve] {}: {}", request.path, with_code(problem.words, problem.code));
    refuse(500, problem.code, problem.words);
  }
}

/// Seconds that a request may wait: those that its header states, and never more than the server allows.
double Service::patience_of(const HttpRequest& request, wire::Family family) const {
  if (!request.headers.contains("x-request-timeout")) return options_.deadline_s;
  const std::string timeout = request.header("x-request-timeout");
  const auto seconds = number_of(timeout);
  if (!seconds || *seconds == 0)
    throw wire::RequestError("bad-timeout", 400, family,
                             fmt::format("X-Request-Timeout: expected seconds above 0, found \"{}\"", utf8_prefix(timeout, 40)));
  return std::min(*seconds, options_.deadline_s);
}

/// Whether the bytes of a request show, without reading it, that it could be answered in time if nobody else asked.
bool Service::fits_alone(const Call& call) const {
  const double tokens_per_s = engine_.state().tokens_per_s;  // a token has a byte at least
  return tokens_per_s == 0 || static_cast<double>(call.exchange->request.body.size()) / tokens_per_s < call.patience_s;
}

/// Refuses texts that are too long by their bytes alone: to make tokens of them would take the time of others.
void Service::expect_room(const Call& call) const {
  constexpr std::size_t kTokenBytes = 16;  // texts have some 4 bytes a token
  std::size_t bytes = 0;
  for (const wire::Group& group : call.request.groups) {
    for (const preference::Message& message : group.prompt) bytes += message.content.size();
    for (const wire::Item& item : group.items) bytes += item.text.size() + kTokenBytes * item.tokens.size();
  }
  const auto tokens_max = static_cast<std::size_t>(options_.request_tokens_max);
  if (bytes / kTokenBytes > tokens_max)
    throw wire::RequestError(
        "request-too-long", 413, call.family,
        fmt::format("the request has far more text than {} tokens have, {} bytes: send fewer or shorter texts in a request",
                    tokens_max, bytes));
}

/// Token ids of all groups.
void Service::read_texts(Call& call) const {
  expect_room(call);
  const std::shared_ptr<const moe::Bundle>& bundle = call.loaded->bundle;
  const std::int64_t longest = bundle->model.limits.layout.max_length;
  if (!call.request.category.empty()) (void)bundle->model.category(call.request.category);
  for (const wire::Group& group : call.request.groups) {
    Work work{bundle, {}, call.request.category};
    Found found = Found::messages;
    if (group.form == wire::Form::messages) {
      std::vector<std::string> responses;
      for (const wire::Item& item : group.items) responses.push_back(item.text);
      work.texts = moe::tokenize(*bundle, group.prompt, responses);
    } else {
      const wire::Item& item = group.items.at(0);
      ReadText read = group.form == wire::Form::text ? call.loaded->texts.read(item.text, item.prompt_bytes)
                                                     : call.loaded->texts.read(item.tokens);
      work.texts = std::move(read.texts);
      found = read.found;
      if (found == Found::empty && !options_.empty_reward)
        throw DataError("text-is-blank",
                        fmt::format("text {}: there is nothing to read behind the prompt, and an empty response has no "
                                    "score: give it a low reward in the trainer, or start the server with --empty-reward",
                                    item.place));
    }
    for (std::size_t i = 0; i < work.texts.responses.size(); ++i) {
      const auto length = std::ssize(work.texts.responses[i]);
      if (call.request.refuse_overlong && length > longest)
        throw wire::RequestError("text-too-long", call.family == wire::Family::tei ? 413 : 400, call.family,
                                 fmt::format("text {} has {} tokens, the model reads {}: shorten it, or allow truncation",
                                             group.items[std::min(i, group.items.size() - 1)].place, length, longest));
    }
    call.tokens += Engine::tokens_of(work);
    if (call.tokens > options_.request_tokens_max)
      throw wire::RequestError(
          "request-too-long", 413, call.family,
          fmt::format("the request has more than {} tokens: send fewer texts in a request", options_.request_tokens_max));
    call.ask.works.push_back(std::move(work));
    call.found.push_back(found);
  }
}

void Service::submit(const std::shared_ptr<Call>& call) {
  if (call->ask.works.empty()) return finish(call, {});
  Ask ask = call->ask;
  const Engine::Admission admission = engine_.submit(std::move(ask), [this, call](Outcome outcome) {
    workers_->post_first([this, call, outcome = std::move(outcome)]() mutable { finish(call, std::move(outcome)); });
  });
  if (admission.retry_after_s > 0) return answer(*call, not_admitted(call->patience(), admission));
  call->exchange->when_gone([this, ticket = admission.ticket] { engine_.cancel(ticket); });
}

HttpAnswer Service::reply(const Call& call, const Outcome& outcome) {
  const moe::Bundle& bundle = *call.loaded->bundle;
  std::vector<ScoredWork> works;
  for (std::size_t w = 0; w < call.ask.works.size(); ++w)
    works.push_back({&call.ask.works[w].texts, &outcome.groups.at(w), call.found[w]});
  const std::vector<wire::Scored> scored = scored_texts(bundle.model, works, options_.empty_reward.value_or(0));
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const wire::ReplyFacts facts{call.loaded->name, fmt::format("{:x}-{}", call.loaded->created, call.number),
                               std::chrono::duration_cast<std::chrono::seconds>(now).count(), bundle.chat_template->digest(),
                               points_of(bundle.model)};
  HttpAnswer answer = json_answer(wire::render(call.request, scored, facts));
  const auto split = [&](Found found) { return std::ranges::count(call.found, found) > 0; };
  const char* read = split(Found::nothing) ? "none" : split(Found::split) ? "text" : "messages";
  const std::string milliseconds = fmt::format("{:.0f}", seconds_since(call.came()) * 1e3);
  answer.headers = {{"X-Compute-Type", bundle.model.backbone->device().is_cpu() ? "cpu" : "cuda"},
                    {"X-Compute-Time", milliseconds},  // of the whole request, as TEI has it
                    {"X-Compute-Tokens", fmt::format("{}", call.tokens)},
                    {"X-Queue-Time", fmt::format("{:.0f}", outcome.queue_s * 1e3)},
                    {"X-Inference-Time", fmt::format("{:.0f}", outcome.compute_s * 1e3)},
                    {"X-Total-Time", milliseconds},
                    {"X-Prompt-Found", read}};
  answer.texts = std::ssize(scored);
  answer.tokens = call.tokens;
  std::vector<const moe::GroupScore*> got;
  for (std::size_t w = 0; w < outcome.groups.size(); ++w) {
    if (call.found[w] != Found::empty) got.push_back(&outcome.groups[w]);  // the client gets --empty-reward instead
  }
  metrics_.queued(outcome.queue_s);
  metrics_.scored({call.loaded->name, call.loaded->digest, call.loaded->reading, &bundle.model}, got);
  return answer;
}

void Service::finish(const std::shared_ptr<Call>& call, Outcome outcome) {
  const int failure = call->family == wire::Family::tei ? 424 : 500;  // as TEI says that its backend failed
  const auto refuse = [&](int status, ErrorCode code, const std::string& message) {
    answer(*call, json_answer(wire::render_error(call->family, status, code, message), status));
  };
  try {
    switch (outcome.end) {
      case End::scored:
        return answer(*call, reply(*call, outcome));
      case End::expired:
        return answer(*call, too_late(call->patience(), outcome.busy_s));
      case End::cancelled:
        return refuse(499, ErrorCode("request-cancelled"), "the client hung up");
      case End::stopped:
        return answer(*call, stopping(call->family));
      case End::failed:
        spdlog::error("[serve] scoring failed: {}", outcome.problem);
        return refuse(failure, ErrorCode("scoring-failed"), "the texts could not be scored: " + outcome.problem);
    }
  } catch (const std::exception& e) {
    const Problem problem = problem_of(e);
    spdlog::error("[serve] {}: {}", call->exchange->request.path, with_code(problem.words, problem.code));
    refuse(failure, problem.code, problem.words);
  }
}

void Service::answer(const Call& call, HttpAnswer answer) {
  count(call.exchange->request, answer.status, seconds_since(call.came()));
  call.exchange->answer(std::move(answer));
}

}  // namespace dmoerm::serve
