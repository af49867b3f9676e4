// What the server does with requests: who may ask, which bundle scores, and how the answer looks.
#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/workers.h"
#include "serve/bundles.h"
#include "serve/engine.h"
#include "serve/http_server.h"
#include "serve/metrics.h"
#include "serve/unread_keys.h"
#include "wire/endpoint.h"
#include "wire/reply.h"
#include "wire/request.h"

namespace dmoerm::serve {

struct ServiceOptions {
  std::vector<std::string> api_keys;  ///< One of them is wanted; empty: everybody on this machine may ask
  bool keys_take_turns = false;       ///< Requests take turns by API key, else by connection
  bool behind_front = false;          ///< A front has let the callers in: nobody is asked for a key here
  std::string version;
  wire::Limits limits;
  std::int64_t request_tokens_max = 1 << 17;  ///< Tokens of one request
  double deadline_s = 120;                    ///< Longest time for an answer, unless the request says less
  std::optional<double> empty_reward{};       ///< Score of an empty response in a templated text; none: it is refused
  bool verbose = false;                       ///< Log a line a request
  int workers = 2;                            ///< Threads that read requests and write answers
};

class Service {
 public:
  Service(const ServiceOptions& options, const EngineOptions& engine, Bundles& bundles);
  /// The engine ends first; all requests are answered.
  ~Service();

  /// After the headers: answers that need no body, and refusals.
  [[nodiscard]] std::optional<HttpAnswer> check(const HttpRequest& request);
  /// The whole request.
  void handle(std::shared_ptr<Exchange> exchange);
  /// An error in the words of the protocol that the path belongs to. It is counted.
  [[nodiscard]] HttpAnswer refuse(const HttpRequest& request, int status, ErrorCode code, const std::string& message);

  /// Refuse new requests with 503; GET /ready says so too.
  void drain() { draining_ = true; }
  /// Answer what still waits with 503.
  void abandon() { engine_.stop(); }
  /// Lets /metrics show the server's connections. The server must live as long as requests come.
  void watch(const HttpServer* server) { server_ = server; }
  /// Bundles are read again in a thread of their own, one after the other. Who asks for what waits for its turn already is served
  /// by that. @param name  "" = all @param done  is called at its end
  void reload(const std::string& name, std::shared_ptr<Exchange> exchange = nullptr, std::function<void()> done = nullptr);

  [[nodiscard]] const Metrics& metrics() const { return metrics_; }
  [[nodiscard]] Engine::State queue() const { return engine_.state(); }

 private:
  struct Call;
  /// Who waits for a reload.
  struct Asker {
    std::shared_ptr<Exchange> exchange;
    std::function<void()> done;
  };
  [[nodiscard]] HttpAnswer serve_get(const HttpRequest& request);
  [[nodiscard]] HttpAnswer describe(const HttpRequest& request, const wire::Endpoint& endpoint);
  void prepare(const std::shared_ptr<Call>& call);
  [[nodiscard]] double patience_of(const HttpRequest& request, wire::Family family) const;
  [[nodiscard]] bool fits_alone(const Call& call) const;
  void expect_room(const Call& call) const;
  void read_texts(Call& call) const;
  void read_again(const std::string& name);
  void submit(const std::shared_ptr<Call>& call);
  void finish(const std::shared_ptr<Call>& call, Outcome outcome);
  [[nodiscard]] HttpAnswer reply(const Call& call, const Outcome& outcome);
  void answer(const Call& call, HttpAnswer answer);
  void count(const HttpRequest& request, int status, double seconds);
  [[nodiscard]] Gauges gauges() const;

  const ServiceOptions options_;
  Bundles& bundles_;
  Metrics metrics_;
  std::atomic<bool> draining_{false};
  std::atomic<std::uint64_t> requests_{0};
  UnreadKeys unread_;
  std::atomic<const HttpServer*> server_{nullptr};
  std::mutex reloads_mutex_;
  std::map<std::string, std::vector<Asker>> reloads_;  ///< Those whose turn has not come, by name; "" = all bundles
  Workers reloader_;
  std::unique_ptr<Workers> workers_;
  Engine engine_;
};

}  // namespace dmoerm::serve
