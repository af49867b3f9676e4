#include "watch/status_page.h"

#include <fmt/format.h>
#include <httplib.h>
#include <sys/socket.h>

#include <cstdlib>
#include <future>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/error.h"
#include "base/hash.h"
#include "base/json_text.h"
#include "base/log.h"
#include "base/secrets.h"
#include "base/thread.h"
#include "watch/metrics_text.h"
#include "watch/status_html.h"

namespace dmoerm::watch {
namespace {

constexpr int kPatienceS = 2;        // longest wait for a slow reader
constexpr int kCloseS = 3;           // longest wait for readers at the end of the run
constexpr std::size_t kThreads = 4;  // number of readers served at a time
constexpr std::size_t kRequestMax = 16 << 10;

bool local(const std::string& host) {
  const std::string name = host.starts_with('[') ? host.substr(0, host.find(']') + 1) : host.substr(0, host.find(':'));
  return name.empty() || name == "localhost" || name == "127.0.0.1" || name == "[::1]";
}

/// Set SO_REUSEADDR only. httplib would set SO_REUSEPORT, with which a second run would share the port of the first.
void reuse_address(int socket) {
  const int yes = 1;
  ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
}

}  // namespace

struct StatusPage::Server {
  explicit Server(const config::WatchConfig& config) : every_s(config.every_s) {
    if (config.token_env.empty()) return;
    const char* value = std::getenv(config.token_env.c_str());
    if (value == nullptr || *value == '\0')
      throw ConfigError(
          "token-not-set",
          fmt::format(
              "watch.token_env: the environment variable {} is not set: set it to the token that readers of the status page must "
              "send, or set watch.port to -1",
              config.token_env));
    token = value;
  }

  [[nodiscard]] bool may_read(const httplib::Request& request) const {
    if (token.empty()) return local(request.get_header_value("Host"));
    const std::string sent = request.get_header_value("Authorization"), bearer = "Bearer ";
    if (sent.starts_with(bearer)) return equal_secrets(sent.substr(bearer.size()), token);
    if (request.has_param("token")) return equal_secrets(request.get_param_value("token"), token);
    return equal_secrets(cookie_of(request), cookie_value());
  }

  /// The name holds the port, because browsers send a host's cookies to all its ports.
  [[nodiscard]] std::string cookie_name() const { return fmt::format("dmoerm_{}", port); }
  [[nodiscard]] std::string cookie_value() const { return sha256_hex("status page " + token); }

  [[nodiscard]] std::string cookie_of(const httplib::Request& request) const {
    const std::string cookies = "; " + request.get_header_value("Cookie"), name = "; " + cookie_name() + "=";
    const std::size_t at = cookies.find(name);
    if (at == std::string::npos) return "";
    const std::size_t begin = at + name.size();
    return cookies.substr(begin, cookies.find(';', begin) - begin);
  }

  /// Let a browser that came with "?token=" keep a cookie instead, so that the page's links work and the token does not stay in
  /// its address bar and history. @return whether the request is answered
  bool keep_in_cookie(const httplib::Request& request, httplib::Response& response) const {
    const bool browser = request.get_header_value("Accept").find("text/html") != std::string::npos;
    if (token.empty() || request.path != "/" || !browser || !request.has_param("token")) return false;
    response.set_header("Set-Cookie", fmt::format("{}={}; HttpOnly; SameSite=Strict", cookie_name(), cookie_value()));
    response.set_redirect("./", 303);
    return true;
  }

  /// Serve what `make` returns. It is called at most once per published state.
  void serve(const char* path, const char* type, std::function<std::string(const RunState&, double)> make) {
    auto made = std::make_shared<std::pair<std::int64_t, std::string>>(-1, "");
    http.Get(path, [this, type, make = std::move(make), made](const httplib::Request&, httplib::Response& response) {
      const std::lock_guard lock(mutex);
      if (made->first != version) *made = {version, make(state, now)};
      response.set_content(made->second, type);
    });
  }

  const double every_s;
  std::string token, address;
  int port = 0;
  httplib::Server http;
  std::thread thread;
  std::promise<void> ended;  ///< set when `thread` no longer serves
  std::mutex mutex;
  RunState state;
  double now = 0;
  std::int64_t version = 0;
};

StatusPage::StatusPage(const config::WatchConfig& config) : server_(std::make_shared<Server>(config)) {
  httplib::Server& http = server_->http;
  http.new_task_queue = [] { return new httplib::ThreadPool(kThreads); };
  http.set_socket_options(reuse_address);
  http.set_read_timeout(kPatienceS);
  http.set_write_timeout(kPatienceS);
  http.set_keep_alive_timeout(kPatienceS);
  http.set_payload_max_length(kRequestMax);
  http.set_default_headers(
      {{"Cache-Control", "no-store"},
       {"X-Content-Type-Options", "nosniff"},
       {"Referrer-Policy", "no-referrer"},
       {"Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"}});
  http.set_pre_routing_handler([server = server_.get()](const httplib::Request& request, httplib::Response& response) {
    using enum httplib::Server::HandlerResponse;
    if (request.method != "GET" && request.method != "HEAD") {  // so that no body is read
      response.status = 405;
      response.set_header("Allow", "GET, HEAD");
      response.set_header("Connection", "close");
      return Handled;
    }
    if (request.path == "/healthz") return Unhandled;
    if (server->may_read(request)) return server->keep_in_cookie(request, response) ? Handled : Unhandled;
    response.status = server->token.empty() ? 403 : 401;
    response.set_content(server->token.empty() ? "this page is served to this machine only\n"
                                               : "send the token: Authorization: Bearer TOKEN, or ?token=TOKEN\n",
                         "text/plain");
    return Handled;
  });
  server_->serve("/", "text/html; charset=utf-8",
                 [every_s = config.every_s](const RunState& state, double now) { return status_html(state, now, every_s); });
  server_->serve("/status.json", "application/json", [](const RunState& state, double now) {
    nlohmann::json all = state.to_json();
    all["written_at"] = now;
    return json_line(all) + "\n";
  });
  server_->serve("/metrics", "text/plain; version=0.0.4; charset=utf-8", metrics_text);
  http.Get("/healthz", [](const httplib::Request&, httplib::Response& response) { response.set_content("ok\n", "text/plain"); });
  const int port = config.port == 0                                                   ? http.bind_to_any_port(config.address)
                   : http.bind_to_port(config.address, static_cast<int>(config.port)) ? static_cast<int>(config.port)
                                                                                      : -1;
  if (port < 0) {
    spdlog::warn("[watch] no status page: {} port {} is not available (does another run use it?); the run continues without it",
                 config.address, config.port);
    return;
  }
  server_->port = port;
  const bool v6 = config.address.find(':') != std::string::npos;
  server_->address = fmt::format("http://{}{}{}:{}/", v6 ? "[" : "", config.address, v6 ? "]" : "", port);
  if (!start(port)) return;
  spdlog::info("[watch] status page at {}{}", server_->address, server_->token.empty() ? "" : "?token=...");
}

bool StatusPage::start(int port) {
  std::string problem = "it ended at once";
  std::future<void> ended = server_->ended.get_future();
  try {
    server_->thread = start_thread("the thread of the status page", [server = server_] {
      try {
        server->http.listen_after_bind();
        server->ended.set_value();
      } catch (...) {  // one of its threads could not be started
        server->ended.set_exception(std::current_exception());
      }
    });
    while (!server_->http.is_running() && ended.wait_for(std::chrono::milliseconds(1)) != std::future_status::ready) {
    }
    ended_ = std::move(ended);
    if (ended_.wait_for(std::chrono::seconds(0)) != std::future_status::ready) return true;
    server_->thread.join();
    ended_.get();
  } catch (const std::exception& e) {
    problem = failure_of(e).message;
  }
  server_->address.clear();
  spdlog::warn("[watch] no status page on port {}: {}; the run continues without it", port, problem);
  return false;
}

StatusPage::~StatusPage() {
  if (!server_->thread.joinable()) return;
  server_->http.stop();
  // The server would wait for a reader that sends or takes one byte per second. The run must not.
  if (ended_.wait_for(std::chrono::seconds(kCloseS)) == std::future_status::ready) {
    server_->thread.join();
  } else {
    server_->thread.detach();  // it holds what it uses
  }
}

const std::string& StatusPage::address() const { return server_->address; }

void StatusPage::publish(const RunState& state, double now) {
  const std::lock_guard lock(server_->mutex);
  server_->state = state;
  server_->now = now;
  ++server_->version;
}

}  // namespace dmoerm::watch
