#include "serve/http_server.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <microhttpd.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "base/text.h"
#include "base/thread.h"
#include "base/workers.h"
#include "serve/clock.h"
#include "serve/content_encoding.h"
#include "serve/framing.h"
#include "serve/lingering.h"
#include "serve/listening_socket.h"
#include "serve/origins.h"
#include "serve/problem.h"

namespace dmoerm::serve {
namespace {

constexpr std::size_t kMemoryPerConnection = 64 << 10;                            // headers, and a piece of the body
constexpr const char* kProtocols = "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2";  // in the words of GnuTLS
constexpr auto kSweep = std::chrono::milliseconds(50);  // how often clients that left or stall are looked for
constexpr auto kLastAnswers = std::chrono::seconds(2);  // how long clients may read theirs at the end
constexpr auto kLook = std::chrono::milliseconds(5);    // how often the end looks whether they have
constexpr auto kReadOn = std::chrono::milliseconds(1);  // how often those are read that have their answer and still send

std::string name_of(const sockaddr* address) {
  char text[INET6_ADDRSTRLEN] = "";
  if (address->sa_family == AF_INET)
    ::inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in*>(address)->sin_addr, text, sizeof text);
  if (address->sa_family == AF_INET6)
    ::inet_ntop(AF_INET6, &reinterpret_cast<const sockaddr_in6*>(address)->sin6_addr, text, sizeof text);
  return text;
}

/// As many files as the system lets a process open; connections are files.
void raise_file_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= limit.rlim_max) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

unsigned connections_that_fit(unsigned wanted) {
  constexpr rlim_t kOwn = 64;  // the bundle's files, the log, sockets of the server itself
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur > wanted + kOwn) return wanted;
  const auto fit = static_cast<unsigned>(limit.rlim_cur > kOwn + 8 ? limit.rlim_cur - kOwn : 8);
  spdlog::warn("[serve] at most {} connections at a time: this process may open {} files (ulimit -n)", fit, limit.rlim_cur);
  return fit;
}

bool names_a_body(const HttpRequest& request) {
  return request.stated_length > 0 || request.headers.contains("transfer-encoding");
}

}  // namespace

struct HttpServer::State {
  /// What a connection is doing, and since when.
  struct Connection {
    enum class Phase { first_headers, headers, body, waits, writes } phase = Phase::first_headers;
    Clock::time_point since = Clock::now();
    std::weak_ptr<Exchange> exchange{};
    bool cut = false, sends_on = false;
    [[nodiscard]] bool answers() const { return phase == Phase::waits || phase == Phase::writes; }
  };
  /// A request that is being read or answered; the library's memory of it.
  struct Pending {
    std::shared_ptr<Exchange> exchange = std::make_shared<Exchange>();
    int socket = -1;
    bool too_long = false, too_many = false, handed_over = false;
    std::optional<HttpAnswer> at_once{};  ///< The answer to a request without a body, for when it is read to its end
    std::vector<std::pair<std::string, std::string>> more_headers{};  ///< That its answer gets, whatever it is
  };

  HttpOptions options;
  Check check;
  Handler handler;
  Refusal refusal;
  MHD_Daemon* daemon = nullptr;
  int port = 0;
  std::thread sweeper;
  mutable std::mutex mutex;
  std::condition_variable changed;
  std::unordered_map<int, Connection> connections;  // by socket
  std::optional<Lingering> lingering{};
  std::uint64_t numbers = 0;
  std::size_t waiting = 0;  // exchanges that were handed over and have no answer
  bool ends = false, closes = false;
  std::atomic<std::int64_t> bytes{0};  // of all bodies that are held
  std::atomic<std::uint64_t> cut{0};
  std::optional<Workers> unpacker{};  // the last member: it ends first

  void enter(int socket, Connection::Phase phase, const std::shared_ptr<Exchange>& exchange = nullptr) {
    const std::lock_guard lock(mutex);
    Connection& connection = connections[socket];
    connection.phase = phase;
    connection.since = Clock::now();
    connection.exchange = exchange;
  }

  [[nodiscard]] double patience(Connection::Phase phase) const {
    switch (phase) {
      case Connection::Phase::first_headers:
        return options.header_s;
      case Connection::Phase::headers:
        return options.idle_s;
      case Connection::Phase::body:
        return options.body_s;
      case Connection::Phase::writes:
        return options.write_s;
      case Connection::Phase::waits:
        break;
    }
    return 1e9;
  }

  /// Close connections of clients that take too long, and tell exchanges whose clients hung up.
  void sweep() {
    std::unique_lock lock(mutex);
    Clock::time_point swept = Clock::now();
    while (!changed.wait_for(lock, lingering->empty() ? kSweep : kReadOn, [this] { return ends; })) {
      lingering->read_on();
      if (Clock::now() - swept < kSweep) continue;
      swept = Clock::now();
      std::vector<pollfd> waits;
      for (auto& [socket, connection] : connections) {
        if (connection.cut) continue;
        if (connection.phase == Connection::Phase::waits) waits.push_back({socket, POLLRDHUP, 0});
        if (seconds_since(connection.since) <= patience(connection.phase)) continue;
        connection.cut = true;
        ++cut;                          // before the client can see that it was closed
        ::shutdown(socket, SHUT_RDWR);  // the library closes it; until then its number is not used again
      }
      if (waits.empty() || ::poll(waits.data(), waits.size(), 0) <= 0) continue;
      std::vector<std::shared_ptr<Exchange>> gone;
      for (const pollfd& one : waits) {
        if (one.revents == 0) continue;
        connections[one.fd].cut = true;
        if (auto exchange = connections[one.fd].exchange.lock()) gone.push_back(std::move(exchange));
      }
      lock.unlock();
      for (const auto& exchange : gone) exchange->hang_up();
      lock.lock();
    }
  }

  static int socket_of(MHD_Connection* connection) {
    return MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
  }

  static void on_connection(void* self, MHD_Connection* connection, void** number, MHD_ConnectionNotificationCode what) {
    auto& state = *static_cast<State*>(self);
    const int socket = socket_of(connection);
    const std::lock_guard lock(state.mutex);
    if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
      const auto found = state.connections.find(socket);
      if (found != state.connections.end() && found->second.sends_on && !found->second.cut) state.lingering->keep(socket);
      state.connections.erase(socket);
      return;
    }
    state.connections[socket] = {};
    *number = reinterpret_cast<void*>(static_cast<std::uintptr_t>(++state.numbers));
  }

  static void on_completed(void* self, MHD_Connection* connection, void** context, MHD_RequestTerminationCode) {
    auto& state = *static_cast<State*>(self);
    const std::unique_ptr<Pending> pending(static_cast<Pending*>(std::exchange(*context, nullptr)));
    if (!pending) return;
    state.bytes -= std::ssize(pending->exchange->request.body);
    state.enter(socket_of(connection), Connection::Phase::headers);
  }

  static MHD_Result on_header(void* headers, MHD_ValueKind, const char* name, const char* value) {
    auto& all = *static_cast<std::map<std::string, std::string>*>(headers);
    const auto [place, added] = all.emplace(lower(name), value == nullptr ? "" : value);
    if (!added) place->second += std::string(", ") + (value == nullptr ? "" : value);
    return MHD_YES;
  }

  static MHD_Result on_access(void* self, MHD_Connection* connection, const char* url, const char* method, const char* version,
                              const char* data, std::size_t* size, void** context) {
    auto& state = *static_cast<State*>(self);
    try {
      if (*context == nullptr) return state.begin(connection, {method, url, version}, context);
      Pending& pending = *static_cast<Pending*>(*context);
      if (*size > 0) {
        state.append(pending, {data, *size});
        *size = 0;
        return MHD_YES;
      }
      if (pending.at_once) return state.send(connection, pending, std::move(*std::exchange(pending.at_once, std::nullopt)));
      return pending.handed_over ? state.send(connection, pending) : state.hand_over(connection, pending);
    } catch (const std::exception& e) {
      spdlog::error("[serve] a request was dropped: {}", failure_of(e).message);
      return MHD_NO;
    }
  }

  struct Line {
    const char *method, *path, *version;
  };

  MHD_Result begin(MHD_Connection* connection, const Line& line, void** context) {
    auto pending = std::make_unique<Pending>();
    pending->socket = socket_of(connection);
    HttpRequest& request = pending->exchange->request;
    request.method = line.method;
    request.path = line.path;
    request.peer = name_of(MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS)->client_addr);
    request.connection =
        reinterpret_cast<std::uintptr_t>(MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context);
    MHD_get_connection_values(connection, MHD_HEADER_KIND, &on_header, &request.headers);
    const std::string length = request.header("content-length");
    std::from_chars(length.data(), length.data() + length.size(), request.stated_length);
    enter(pending->socket, Connection::Phase::body);
    const bool preflight = is_preflight(request.method, request.headers, options.origins);
    pending->more_headers = origin_headers(request.headers, options.origins, preflight);
    std::optional<HttpAnswer> answer;
    auto problem = framing_problem(request.headers, line.version);
    if (const auto host_problem = resolve_target(request.path, request.headers); !problem) problem = host_problem;
    if (problem) {
      answer = refusal(request, 400, ErrorCode("bad-http-headers"), *problem);
    } else if (request.stated_length > options.body_bytes_max) {
      answer = too_long(request);
    } else if (bytes + std::max<std::int64_t>(request.stated_length, 0) > options.bodies_bytes_max) {
      answer = too_many(request);
    } else {
      answer = preflight ? HttpAnswer{.status = 204, .body = ""} : check(request);
    }
    *context = pending.release();
    if (!answer) return MHD_YES;
    // The library closes a connection that is answered now, whose client may still send.
    if (problem || names_a_body(request)) return send_and_close(connection, *static_cast<Pending*>(*context), std::move(*answer));
    static_cast<Pending*>(*context)->at_once = std::move(answer);
    return MHD_YES;
  }

  HttpAnswer too_long(const HttpRequest& request) const {
    return refusal(request, 413, ErrorCode("body-too-long"),
                   fmt::format("the body is longer than {} bytes: send fewer texts in a request", options.body_bytes_max));
  }

  HttpAnswer too_many(const HttpRequest& request) const {
    HttpAnswer answer = refusal(request, 429, ErrorCode("server-is-busy"),
                                fmt::format("the requests under way hold {} bytes already: try again later", bytes.load()));
    answer.headers.emplace_back("Retry-After", "1");
    return answer;
  }

  void append(Pending& pending, std::string_view data) {
    std::string& body = pending.exchange->request.body;
    if (std::ssize(body) + std::ssize(data) > options.body_bytes_max) pending.too_long = true;
    if (bytes + std::ssize(data) > options.bodies_bytes_max) pending.too_many = true;
    if (pending.too_long || pending.too_many) return;  // read it to its end, or as long as body_s allows, and keep nothing
    body += data;
    bytes += std::ssize(data);
  }

  /// Reads a compressed body, or says why it cannot be read. All bodies together must have room as they are without compression.
  std::optional<HttpAnswer> unpack(HttpRequest& request) {
    if (!request.headers.contains("content-encoding")) return std::nullopt;
    const auto packed = std::ssize(request.body);
    const auto problem =
        decode_body(request.header("content-encoding"), request.body, static_cast<std::size_t>(options.body_bytes_max));
    if (problem) {
      HttpAnswer answer = refusal(request, problem->status, problem->code, problem->words);
      if (problem->status == 415) answer.headers.emplace_back("Accept-Encoding", "gzip, deflate");
      return answer;
    }
    request.headers.erase("content-encoding");
    bytes += std::ssize(request.body) - packed;
    if (bytes <= options.bodies_bytes_max) return std::nullopt;
    bytes -= std::ssize(request.body);
    request.body = std::string();
    return too_many(request);
  }

  MHD_Result hand_over(MHD_Connection* connection, Pending& pending) {
    const HttpRequest& request = pending.exchange->request;
    if (pending.too_long) return send(connection, pending, too_long(request));
    if (pending.too_many) return send(connection, pending, too_many(request));
    const bool packed = request.headers.contains("content-encoding");
    bool late = false;  // nothing waits for its answer any more
    {
      const std::lock_guard lock(mutex);
      late = ends;
      if (!late) ++waiting;
    }
    if (late) return send(connection, pending, refusal(request, 503, ErrorCode("server-is-stopping"), kStopping));
    pending.exchange->request.came = Clock::now();
    pending.handed_over = true;
    enter(pending.socket, Connection::Phase::waits, pending.exchange);
    pending.exchange->resume_ = [this, connection] {
      MHD_resume_connection(connection);
      const std::lock_guard lock(mutex);
      --waiting;
      changed.notify_all();
    };
    MHD_suspend_connection(connection);
    if (packed) {  // which takes time that this thread has for all connections
      unpacker->post([this, exchange = pending.exchange] { give(exchange); });
    } else {
      give(pending.exchange);
    }
    return MHD_YES;
  }

  /// Has a request handled, or refuses it.
  void give(const std::shared_ptr<Exchange>& exchange) {
    try {
      if (auto refused = unpack(exchange->request)) return exchange->answer(std::move(*refused));
      handler(exchange);
    } catch (const std::exception& e) {
      const Problem problem = problem_of(e);
      exchange->answer(refusal(exchange->request, 500, problem.code, problem.words));
    }
  }

  MHD_Result send(MHD_Connection* connection, Pending& pending) {
    std::optional<HttpAnswer> answer;
    {
      const std::lock_guard lock(pending.exchange->mutex_);
      if (!pending.exchange->answer_) return MHD_YES;  // not yet
      answer = std::exchange(pending.exchange->answer_, HttpAnswer());
    }
    return send(connection, pending, std::move(*answer));
  }

  MHD_Result send_and_close(MHD_Connection* connection, const Pending& pending, HttpAnswer answer) {
    const MHD_Result result = send(connection, pending, std::move(answer), true);
    const std::lock_guard lock(mutex);
    connections[pending.socket].sends_on = true;
    return result;
  }

  MHD_Result send(MHD_Connection* connection, const Pending& pending, HttpAnswer answer, bool close = false) {
    enter(pending.socket, Connection::Phase::writes);
    auto body = std::make_unique<std::string>(std::move(answer.body));
    MHD_Response* response = MHD_create_response_from_buffer_with_free_callback_cls(
        body->size(), body->data(), [](void* text) { delete static_cast<std::string*>(text); }, body.get());
    if (response == nullptr) return MHD_NO;
    (void)body.release();  // the library frees it when it is sent
    MHD_add_response_header(response, "Content-Type", answer.type.c_str());
    answer.headers.insert(answer.headers.end(), pending.more_headers.begin(), pending.more_headers.end());
    for (const auto& [name, value] : answer.headers) MHD_add_response_header(response, name.c_str(), value.c_str());
    {
      const std::lock_guard lock(mutex);
      close |= closes;
    }
    if (close) MHD_add_response_header(response, "Connection", "close");
    const MHD_Result result = MHD_queue_response(connection, static_cast<unsigned>(answer.status), response);
    MHD_destroy_response(response);
    return result;
  }
};

HttpServer::HttpServer(const HttpOptions& options, Check check, Handler handler, Refusal refusal)
    : state_(std::make_unique<State>()) {
  State& state = *state_;
  state.options = options;
  state.lingering.emplace(options.body_s);
  state.unpacker.emplace(1, "the thread that unpacks bodies");
  state.check = std::move(check);
  state.handler = std::move(handler);
  state.refusal = std::move(refusal);
  raise_file_limit();
  const int socket = listen_at(options.host, options.port);
  state.port = port_of(socket);
  unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME;
  std::vector<MHD_OptionItem> items = {
      {MHD_OPTION_LISTEN_SOCKET, socket, nullptr},
      {MHD_OPTION_CONNECTION_LIMIT, static_cast<std::intptr_t>(connections_that_fit(options.connections_max)), nullptr},
      {MHD_OPTION_CONNECTION_MEMORY_LIMIT, static_cast<std::intptr_t>(kMemoryPerConnection), nullptr},
      {MHD_OPTION_NOTIFY_CONNECTION, reinterpret_cast<std::intptr_t>(&State::on_connection), &state},
      {MHD_OPTION_NOTIFY_COMPLETED, reinterpret_cast<std::intptr_t>(&State::on_completed), &state},
  };
  if (!options.certificate.empty()) {
    flags |= MHD_USE_TLS;
    items.push_back({MHD_OPTION_HTTPS_MEM_CERT, 0, const_cast<char*>(options.certificate.c_str())});
    items.push_back({MHD_OPTION_HTTPS_MEM_KEY, 0, const_cast<char*>(options.key.c_str())});
    items.push_back({MHD_OPTION_HTTPS_PRIORITIES, 0, const_cast<char*>(kProtocols)});
  }
  items.push_back({MHD_OPTION_END, 0, nullptr});
  state.daemon =
      MHD_start_daemon(flags, 0, nullptr, nullptr, &State::on_access, &state, MHD_OPTION_ARRAY, items.data(), MHD_OPTION_END);
  if (state.daemon == nullptr) {
    ::close(socket);
    if (!options.certificate.empty())
      throw ConfigError("tls-not-usable",
                        "--tls-cert, --tls-key: the certificate and the key cannot be used: expected two PEM "
                        "files, the second with the key of the first");
    throw Error("http-server-failed", fmt::format("the HTTP server cannot be started: {}", std::strerror(errno)));
  }
  state.sweeper = start_thread("the thread that watches connections", [&state] { state.sweep(); });
}

void HttpServer::finish() {
  stop_accepting();
  std::unique_lock lock(state_->mutex);
  state_->ends = true;
  state_->changed.notify_all();
  state_->changed.wait(lock, [this] { return state_->waiting == 0; });
  const auto until = Clock::now() + kLastAnswers;  // the library drops answers that it has not sent when it stops
  while (Clock::now() < until && std::ranges::any_of(state_->connections, [](const auto& item) { return item.second.answers(); }))
    state_->changed.wait_for(lock, kLook);
}

HttpServer::~HttpServer() {
  finish();
  state_->sweeper.join();
  MHD_stop_daemon(state_->daemon);
}

int HttpServer::port() const { return state_->port; }

void HttpServer::stop_accepting() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->closes = true;
  }
  if (const int socket = MHD_quiesce_daemon(state_->daemon); socket >= 0) ::close(socket);
}

std::size_t HttpServer::under_way() const {
  constexpr double kOnItsWayS = 1;  // a body that takes longer may never end
  const std::lock_guard lock(state_->mutex);
  return static_cast<std::size_t>(std::ranges::count_if(state_->connections, [](const auto& item) {
    const State::Connection& one = item.second;
    return one.answers() || (one.phase == State::Connection::Phase::body && seconds_since(one.since) < kOnItsWayS);
  }));
}

ConnectionGauges HttpServer::gauges() const {
  ConnectionGauges gauges{.under_way = under_way(), .timed_out = state_->cut};
  const std::lock_guard lock(state_->mutex);
  gauges.connections = state_->connections.size();
  return gauges;
}

}  // namespace dmoerm::serve
