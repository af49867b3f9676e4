#include "judge/http_multi.h"

#include <curl/curl.h>
#include <fmt/format.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/text.h"
#include "judge/web_address.h"

namespace dmoerm::judge {
namespace {

using Steady = std::chrono::steady_clock;
constexpr const char* kLoopback = "localhost,127.0.0.1,::1";

void check(CURLMcode code, const char* action) {
  if (code != CURLM_OK) throw Error(fmt::format("libcurl cannot {}: {}", action, curl_multi_strerror(code)));
}

template <class Value>
void set(CURL* handle, CURLoption option, Value value) {
  const CURLcode code = curl_easy_setopt(handle, option, value);
  if (code != CURLE_OK)
    throw Error(fmt::format("libcurl refuses option {}: {}", static_cast<int>(option), curl_easy_strerror(code)));
}

/// Set up libcurl's process-wide state.
void init_curl() {
  static const CURLcode code = curl_global_init(CURL_GLOBAL_DEFAULT);
  if (code != CURLE_OK) throw Error(fmt::format("libcurl cannot start: {}", curl_easy_strerror(code)));
}

using Handle = std::unique_ptr<CURL, void (*)(CURL*)>;

struct Target {
  std::string url;
  config::EndpointConfig endpoint;
  std::unique_ptr<curl_slist, void (*)(curl_slist*)> headers{nullptr, curl_slist_free_all};
  bool tls = false;
  bool answered = false;                     ///< A reply came that only a server of this scheme gives
  std::optional<bool> other_scheme = {};     ///< Whether an http address is that of an https server; empty: not known yet
  Handle probe{nullptr, curl_easy_cleanup};  ///< Asks the server that; null: not under way
  std::vector<HttpResult> waiting = {};      ///< Results that end as `other_scheme` if it finds such a server

  void add_header(const std::string& line) {
    curl_slist* longer = curl_slist_append(headers.get(), line.c_str());
    if (!longer) throw std::bad_alloc();
    (void)headers.release();
    headers.reset(longer);
  }
};

/// One request in progress. Its handle is reused for later ones.
struct Transfer {
  explicit Transfer(std::size_t limit) : body_max(limit) {}
  Handle handle{curl_easy_init(), curl_easy_cleanup};
  std::size_t body_max;
  int target = -1;
  std::uint64_t id = 0;
  Steady::time_point begun;
  std::string body, location;
  RateHeaderReader headers;
  std::int64_t tokens = -1;
  std::string prompt_found;
  bool requested = false;  ///< The request was, or is being, written to a connection
  bool repeated = false;   ///< libcurl was about to write it a second time
  bool too_big = false;
  std::array<char, CURL_ERROR_SIZE> error{};
};

std::size_t on_body(char* data, std::size_t, std::size_t bytes, void* user) {
  auto& transfer = *static_cast<Transfer*>(user);
  if (transfer.body.size() + bytes > transfer.body_max) {
    transfer.too_big = true;
    return 0;
  }
  transfer.body.append(data, bytes);
  return bytes;
}

/// The number that a header has; -1 if it is none.
std::int64_t count_in(std::string_view value) {
  std::int64_t count = -1;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), count);
  return error == std::errc() && end == value.data() + value.size() && count >= 0 ? count : -1;
}

std::size_t on_header(char* data, std::size_t, std::size_t bytes, void* user) {
  auto& transfer = *static_cast<Transfer*>(user);
  const std::string_view line(data, bytes);
  const std::size_t colon = line.find(':');
  if (line.substr(0, 5) == "HTTP/") {  // drops those of an interim reply
    transfer.headers = {};
    transfer.tokens = -1;
    transfer.prompt_found.clear();
  }
  if (colon == std::string_view::npos) return bytes;
  const std::string_view name = line.substr(0, colon), value = line.substr(colon + 1);
  transfer.headers.add(name, value);
  const std::string known = lower(name);
  if (known == "location") transfer.location = value.substr(std::min(value.find_first_not_of(' '), value.size()), 1000);
  if (known == "x-compute-tokens") transfer.tokens = count_in(trim(value));
  if (known == "x-prompt-found") transfer.prompt_found = trim(value);
  return bytes;
}

/// Called before libcurl writes the request to a connection. A repetition may be charged twice, so it is left to the caller.
int on_request(void* user, char*, char*, int, int) {
  auto& transfer = *static_cast<Transfer*>(user);
  transfer.repeated = transfer.requested;
  transfer.requested = true;
  return transfer.repeated ? CURL_PREREQFUNC_ABORT : CURL_PREREQFUNC_OK;
}

/// Whether a reply ended in its headers because libcurl does not read headers of such a length. Versions call a long line "Out of
/// memory" or "A value or data field grew larger than allowed" (code 100), and long headers "Too large response headers".
bool has_long_headers(const Transfer& transfer, CURLcode code) {
  constexpr int kTooLarge = 100;
  if (!transfer.requested || !transfer.body.empty()) return false;
  return code == CURLE_OUT_OF_MEMORY || static_cast<int>(code) == kTooLarge ||
         std::string_view(transfer.error.data()).find("Too large response headers") != std::string_view::npos;
}

HttpResult::End end_of(const Transfer& transfer, CURLcode code) {
  if (code == CURLE_OK) return HttpResult::End::replied;
  if (transfer.too_big) return HttpResult::End::too_big;
  if (has_long_headers(transfer, code)) return HttpResult::End::long_headers;
  const bool trust = code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE ||
                     code == CURLE_SSL_ISSUER_ERROR || code == CURLE_SSL_INVALIDCERTSTATUS ||
                     code == CURLE_SSL_PINNEDPUBKEYNOTMATCH;
  if (trust && !transfer.requested) return HttpResult::End::untrusted;
  return transfer.requested ? HttpResult::End::cut_off : HttpResult::End::not_reached;
}

/// A transfer that succeeds if a TLS server listens where an http address points. It shakes hands and sends nothing, so the
/// certificate does not matter, and its connection serves nothing else.
Handle probe_of_tls(const Target& target, const std::string& no_proxy) {
  Handle handle{curl_easy_init(), curl_easy_cleanup};
  if (!handle) throw std::bad_alloc();
  constexpr long kLongestMs = 2000;
  set(handle.get(), CURLOPT_URL, https_address(target.url).c_str());
  set(handle.get(), CURLOPT_CONNECT_ONLY, 1L);
  set(handle.get(), CURLOPT_FORBID_REUSE, 1L);
  set(handle.get(), CURLOPT_SSL_VERIFYPEER, 0L);
  set(handle.get(), CURLOPT_SSL_VERIFYHOST, 0L);
  set(handle.get(), CURLOPT_NOPROXY, no_proxy.c_str());
  set(handle.get(), CURLOPT_NOSIGNAL, 1L);
  set(handle.get(), CURLOPT_TIMEOUT_MS, kLongestMs);
  return handle;
}

/// Whether an http request ended as it does at a TLS server: with a closed connection, an alert, or a status 400 that says why.
bool is_as_of_tls(const HttpResult& result, CURLcode code) {
  if (result.end == HttpResult::End::cut_off)
    return result.status == 0 && (code == CURLE_GOT_NOTHING || code == CURLE_RECV_ERROR || code == CURLE_SEND_ERROR ||
                                  code == CURLE_UNSUPPORTED_PROTOCOL || code == CURLE_WEIRD_SERVER_REPLY);
  const std::string said = result.end == HttpResult::End::replied && result.status == 400 ? lower(result.body) : "";
  return said.find("https") != std::string::npos || said.find("ssl") != std::string::npos;
}

/// Whether a TLS library complains of a reply that is none of TLS, in the words of OpenSSL or GnuTLS.
bool is_reply_without_tls(std::string_view problem) {
  return problem.find("wrong version number") != std::string_view::npos ||
         problem.find("unexpected TLS packet") != std::string_view::npos;
}

}  // namespace

struct HttpMulti::Impl {
  Impl(int connections, std::size_t body_bytes_max) : body_max(body_bytes_max) {
    init_curl();
    multi.reset(curl_multi_init());
    epoll = ::epoll_create1(EPOLL_CLOEXEC);
    if (!multi || epoll < 0)
      throw Error("cannot-start-network", fmt::format("cannot start libcurl's multi interface: {}", std::strerror(errno)));
    curl_multi_setopt(multi.get(), CURLMOPT_SOCKETFUNCTION, &Impl::on_socket);
    curl_multi_setopt(multi.get(), CURLMOPT_SOCKETDATA, this);
    curl_multi_setopt(multi.get(), CURLMOPT_TIMERFUNCTION, &Impl::on_timer);
    curl_multi_setopt(multi.get(), CURLMOPT_TIMERDATA, this);
    curl_multi_setopt(multi.get(), CURLMOPT_MAXCONNECTS, static_cast<long>(connections));
    curl_multi_setopt(multi.get(), CURLMOPT_PIPELINING, CURLPIPE_MULTIPLEX);
    const char* direct = std::getenv("no_proxy");
    if (!direct) direct = std::getenv("NO_PROXY");
    no_proxy = direct && *direct ? fmt::format("{},{}", direct, kLoopback) : kLoopback;
  }

  ~Impl() {
    for (const auto& transfer : busy) curl_multi_remove_handle(multi.get(), transfer->handle.get());
    for (const Target& target : targets) {
      if (target.probe) curl_multi_remove_handle(multi.get(), target.probe.get());
    }
    busy.clear();
    spare.clear();
    targets.clear();
    multi.reset();
    if (epoll >= 0) ::close(epoll);
  }

  static int on_socket(CURL*, curl_socket_t socket, int what, void* user, void* known) {
    auto& self = *static_cast<Impl*>(user);
    if (what == CURL_POLL_REMOVE) {
      ::epoll_ctl(self.epoll, EPOLL_CTL_DEL, socket, nullptr);
      return 0;
    }
    epoll_event event{};
    event.data.fd = socket;
    if (what != CURL_POLL_OUT) event.events |= EPOLLIN;
    if (what != CURL_POLL_IN) event.events |= EPOLLOUT;
    const int change = known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    if (::epoll_ctl(self.epoll, change, socket, &event) != 0 &&
        ::epoll_ctl(self.epoll, known ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, socket, &event) != 0)
      return -1;
    if (!known) curl_multi_assign(self.multi.get(), socket, &self);
    return 0;
  }

  static int on_timer(CURLM*, long timeout_ms, void* user) {
    auto& self = *static_cast<Impl*>(user);
    self.timer.reset();
    if (timeout_ms >= 0) self.timer = Steady::now() + std::chrono::milliseconds(timeout_ms);
    return 0;
  }

  /// Set the options that a handle keeps while it serves the same target.
  void prepare(Transfer& transfer, int number) {
    CURL* handle = transfer.handle.get();
    const Target& target = targets[static_cast<std::size_t>(number)];
    curl_easy_reset(handle);
    set(handle, CURLOPT_PROTOCOLS_STR, "http,https");
    set(handle, CURLOPT_HTTPHEADER, target.headers.get());
    set(handle, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_2TLS));
    set(handle, CURLOPT_PIPEWAIT, target.tls ? 1L : 0L);  // wait for a shared connection instead of opening hundreds
    set(handle, CURLOPT_SSL_VERIFYPEER, 1L);
    set(handle, CURLOPT_SSL_VERIFYHOST, 2L);
    set(handle, CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
    if (!target.endpoint.ca_file.empty()) set(handle, CURLOPT_CAINFO, target.endpoint.ca_file.c_str());
    set(handle, CURLOPT_FOLLOWLOCATION, 0L);
    set(handle, CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
    set(handle, CURLOPT_NOPROXY, no_proxy.c_str());
    set(handle, CURLOPT_ACCEPT_ENCODING, "gzip");
    set(handle, CURLOPT_NOSIGNAL, 1L);
    set(handle, CURLOPT_TCP_KEEPALIVE, 1L);
    set(handle, CURLOPT_CONNECTTIMEOUT_MS, std::lround(target.endpoint.connect_timeout_s * 1000));
    set(handle, CURLOPT_TIMEOUT_MS, std::lround(target.endpoint.request_timeout_s * 1000));
    set(handle, CURLOPT_WRITEFUNCTION, &on_body);
    set(handle, CURLOPT_WRITEDATA, &transfer);
    set(handle, CURLOPT_HEADERFUNCTION, &on_header);
    set(handle, CURLOPT_HEADERDATA, &transfer);
    set(handle, CURLOPT_PREREQFUNCTION, &on_request);
    set(handle, CURLOPT_PREREQDATA, &transfer);
    set(handle, CURLOPT_ERRORBUFFER, transfer.error.data());
    set(handle, CURLOPT_PRIVATE, &transfer);
    transfer.target = number;
  }

  /// A transfer for the target, ready for the next request.
  std::unique_ptr<Transfer> take(std::uint64_t id, int number) {
    const auto same = std::find_if(spare.rbegin(), spare.rend(), [&](const auto& t) { return t->target == number; });
    std::unique_ptr<Transfer> transfer;
    if (same != spare.rend()) {
      transfer = std::move(*same);
      spare.erase(std::next(same).base());
    } else {
      transfer = std::make_unique<Transfer>(body_max);
      if (!transfer->handle) throw std::bad_alloc();
      prepare(*transfer, number);
    }
    transfer->id = id;
    transfer->location.clear();
    transfer->headers = {};
    transfer->tokens = -1;
    transfer->prompt_found.clear();
    transfer->requested = transfer->repeated = transfer->too_big = false;
    transfer->error[0] = 0;
    return transfer;
  }

  void launch(std::unique_ptr<Transfer> transfer) {
    transfer->begun = Steady::now();
    check(curl_multi_add_handle(multi.get(), transfer->handle.get()), "start a request");
    busy.push_back(std::move(transfer));
  }

  void start(std::uint64_t id, int number, const std::string& body) {
    std::unique_ptr<Transfer> transfer = take(id, number);
    set(transfer->handle.get(), CURLOPT_URL, targets[static_cast<std::size_t>(number)].url.c_str());
    set(transfer->handle.get(), CURLOPT_POSTFIELDS, body.c_str());
    set(transfer->handle.get(), CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body.size()));
    launch(std::move(transfer));
  }

  void get(std::uint64_t id, int number, const std::string& path) {
    std::unique_ptr<Transfer> transfer = take(id, number);
    set(transfer->handle.get(), CURLOPT_HTTPGET, 1L);
    set(transfer->handle.get(), CURLOPT_URL, join_url(targets[static_cast<std::size_t>(number)].url, path).c_str());
    launch(std::move(transfer));
  }

  /// Whether a request ended as it does at a server that speaks the other one of http and https. A server that has answered does
  /// not, even if a proxy before it fails later.
  static bool is_as_of_other_scheme(Target& target, const HttpResult& result, CURLcode code) {
    const bool doubtful = target.tls ? result.end == HttpResult::End::not_reached && is_reply_without_tls(result.problem)
                                     : is_as_of_tls(result, code);
    if (result.end == HttpResult::End::replied && !doubtful) target.answered = true;
    return doubtful && !target.answered;
  }

  static void name_other_scheme(const Target& target, HttpResult& result) {
    result.end = HttpResult::End::other_scheme;
    result.problem = fmt::format("the server speaks {0} there, not {1}; write {0}:// in its address",
                                 target.tls ? "http" : "https", target.tls ? "https" : "http");
  }

  /// Hand out a result. What a TLS server does with a request in http others do too, so the server is asked, once, and until it
  /// has answered such results wait: other requests go on.
  void settle(Target& target, HttpResult result, CURLcode code, std::vector<HttpResult>& results) {
    const bool doubtful = is_as_of_other_scheme(target, result, code);
    if (doubtful && !target.tls && !target.other_scheme) {
      target.waiting.push_back(std::move(result));
      if (!target.probe) start_probe(target);
      return;
    }
    if (doubtful && (target.tls || *target.other_scheme)) name_other_scheme(target, result);
    results.push_back(std::move(result));
  }

  void start_probe(Target& target) {
    Handle probe = probe_of_tls(target, no_proxy);
    check(curl_multi_add_handle(multi.get(), probe.get()), "ask a server for TLS");
    target.probe = std::move(probe);
  }

  void end_probe(const CURL* handle, CURLcode code, std::vector<HttpResult>& results) {
    const auto at = std::find_if(targets.begin(), targets.end(), [&](const Target& t) { return t.probe.get() == handle; });
    at->other_scheme = code == CURLE_OK;
    check(curl_multi_remove_handle(multi.get(), at->probe.get()), "end a request");
    at->probe.reset();
    for (HttpResult& result : at->waiting) {
      if (*at->other_scheme && !at->answered) name_other_scheme(*at, result);
      results.push_back(std::move(result));
    }
    at->waiting.clear();
  }

  HttpResult finish(Transfer& transfer, CURLcode code) const {
    HttpResult result;
    result.id = transfer.id;
    result.end = end_of(transfer, code);
    long status = 0;
    curl_easy_getinfo(transfer.handle.get(), CURLINFO_RESPONSE_CODE, &status);
    result.status = static_cast<int>(status);
    const char* asked = nullptr;
    if (curl_easy_getinfo(transfer.handle.get(), CURLINFO_EFFECTIVE_URL, &asked) == CURLE_OK && asked != nullptr)
      result.asked = shown_address(asked);
    result.seconds = std::chrono::duration<double>(Steady::now() - transfer.begun).count();
    result.headers = transfer.headers.get();
    result.tokens = transfer.tokens;
    result.prompt_found = std::move(transfer.prompt_found);
    result.location = std::move(transfer.location);
    result.body = std::move(transfer.body);
    transfer.body = {};
    if (result.end == HttpResult::End::too_big) {
      result.problem = fmt::format("the reply is larger than {} bytes", body_max);
    } else if (result.end == HttpResult::End::long_headers) {
      result.problem =
          "the headers of the reply are too long (a line of more than 100 KB, or 300 KB in all): the server, or a proxy before "
          "it, must send shorter ones";
    } else if (transfer.repeated) {
      result.problem = "the connection was closed after the request was sent, without a reply";
    } else if (code != CURLE_OK) {
      result.problem = transfer.error[0] ? transfer.error.data() : curl_easy_strerror(code);
    }
    return result;
  }

  void collect(std::vector<HttpResult>& results) {
    int left = 0;
    while (const CURLMsg* message = curl_multi_info_read(multi.get(), &left)) {
      if (message->msg != CURLMSG_DONE) continue;
      Transfer* transfer = nullptr;
      curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &transfer);
      const CURLcode code = message->data.result;
      if (transfer == nullptr) {
        end_probe(message->easy_handle, code, results);
        continue;
      }
      HttpResult result = finish(*transfer, code);
      Target& target = targets[static_cast<std::size_t>(transfer->target)];
      check(curl_multi_remove_handle(multi.get(), transfer->handle.get()), "end a request");
      const auto at = std::find_if(busy.begin(), busy.end(), [&](const auto& t) { return t.get() == transfer; });
      std::swap(*at, busy.back());
      spare.push_back(std::move(busy.back()));
      busy.pop_back();
      settle(target, std::move(result), code, results);
    }
  }

  [[nodiscard]] std::size_t in_flight() const {
    std::size_t sum = busy.size();
    for (const Target& target : targets) sum += target.waiting.size();
    return sum;
  }

  std::vector<HttpResult> step(std::chrono::milliseconds wait) {
    std::vector<HttpResult> results;
    const auto until = Steady::now() + std::max(wait, std::chrono::milliseconds(0));
    std::array<epoll_event, 256> events{};
    for (;;) {
      const auto now = Steady::now();
      const auto next = timer ? std::min(until, *timer) : until;
      const auto pause = next > now ? std::chrono::ceil<std::chrono::milliseconds>(next - now) : std::chrono::milliseconds(0);
      const int ready = ::epoll_wait(epoll, events.data(), static_cast<int>(events.size()),
                                     static_cast<int>(std::min<std::int64_t>(pause.count(), 60000)));
      if (ready < 0 && errno != EINTR)
        throw Error("network-wait-failed", fmt::format("cannot wait for the network: {}", std::strerror(errno)));
      int running = 0;
      for (int i = 0; i < ready; ++i) {
        const auto& event = events[static_cast<std::size_t>(i)];
        const int mask = ((event.events & EPOLLIN) ? CURL_CSELECT_IN : 0) | ((event.events & EPOLLOUT) ? CURL_CSELECT_OUT : 0) |
                         ((event.events & (EPOLLERR | EPOLLHUP)) ? CURL_CSELECT_ERR : 0);
        check(curl_multi_socket_action(multi.get(), event.data.fd, mask, &running), "move data");
      }
      if (timer && *timer <= Steady::now()) {
        timer.reset();
        check(curl_multi_socket_action(multi.get(), CURL_SOCKET_TIMEOUT, 0, &running), "handle a timeout");
      }
      collect(results);
      if (!results.empty() || ready < 0 || Steady::now() >= until) return results;
    }
  }

  std::size_t body_max;
  std::string no_proxy;
  std::unique_ptr<CURLM, CURLMcode (*)(CURLM*)> multi{nullptr, curl_multi_cleanup};
  int epoll = -1;
  std::optional<Steady::time_point> timer;
  std::vector<Target> targets;
  std::vector<std::unique_ptr<Transfer>> busy, spare;
};

HttpMulti::HttpMulti(int connections_max, std::size_t body_bytes_max)
    : impl_(std::make_unique<Impl>(connections_max, body_bytes_max)) {}
HttpMulti::~HttpMulti() = default;

int HttpMulti::add_target(HttpTarget target) {
  const config::EndpointConfig& endpoint = target.endpoint;
  const std::string address = join_url(endpoint.url, target.path);
  const AddressParts parts = parts_of(address);
  if (parts.names_user) {
    throw ConfigError(
        "endpoint-address-password",
        fmt::format(
            "endpoint address at host {}: it contains a user or password: name an environment variable (key_env) or a key file "
            "(key_file) instead",
            parts.host));
  }
  if (const std::string problem = address_problem(address); !problem.empty())
    throw ConfigError("endpoint-address", fmt::format("endpoint address {}: {}", shown_address(address), problem));
  if (!endpoint.ca_file.empty() && ::access(endpoint.ca_file.c_str(), R_OK) != 0) {
    throw ConfigError("certificate-file-unreadable",
                      fmt::format("certificate file {}: {}", endpoint.ca_file, std::strerror(errno)));
  }
  if (!(endpoint.connect_timeout_s > 0) || !(endpoint.request_timeout_s > 0)) {
    throw ConfigError("endpoint-time-limit",
                      fmt::format("endpoint {}: time limits of {} s to connect and {} s a request: expected more than 0",
                                  shown_address(address), endpoint.connect_timeout_s, endpoint.request_timeout_s));
  }
  Target added;
  added.tls = parts.scheme == "https";
  added.add_header("Content-Type: " + target.content_type);
  added.add_header("Accept: application/json");
  added.add_header("Expect:");  // does not wait for "100 Continue"
  added.add_header("User-Agent: dmoerm");
  if (!target.bearer.empty()) added.add_header("Authorization: Bearer " + target.bearer);
  added.url = address;
  added.endpoint = std::move(target.endpoint);
  impl_->targets.push_back(std::move(added));
  return static_cast<int>(impl_->targets.size()) - 1;
}

void HttpMulti::start(std::uint64_t id, int target, const std::string& body) { impl_->start(id, target, body); }
void HttpMulti::get(std::uint64_t id, int target, const std::string& path) { impl_->get(id, target, path); }
std::vector<HttpResult> HttpMulti::step(std::chrono::milliseconds wait) { return impl_->step(wait); }
std::size_t HttpMulti::in_flight() const { return impl_->in_flight(); }

}  // namespace dmoerm::judge
