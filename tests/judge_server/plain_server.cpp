#include "plain_server.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/tcp.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <unordered_map>

#include "base/error.h"

namespace dmoerm::judge_server {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::size_t kRequestMax = 256 << 20;
constexpr int kSlowPieces = 10;

std::string_view reason_of(int status) { return status == 200 ? "OK" : status < 400 ? "Moved" : "Error"; }

struct Connection {
  int fd = -1;
  std::string in, out;
  std::size_t sent = 0;
  bool close_after = false;         ///< Whether to close after `out` is sent
  bool busy = false;                ///< Whether a reply is due or being sent
  bool waits_to_write = false;      ///< Whether it is registered for EPOLLOUT
  std::vector<std::string> pieces;  ///< Pieces of a slow body, the last first
};

/// Remove one whole request from the start of `in`. @return nothing while it is incomplete @throws DataError if it is malformed
std::optional<HttpRequest> take_request(std::string& in) {
  if (!in.empty() && (in[0] < 'A' || in[0] > 'Z')) throw DataError("no method");  // a client that begins to speak TLS
  const std::size_t head_end = in.find("\r\n\r\n");
  if (head_end == std::string::npos) {
    if (in.size() > (1 << 20)) throw DataError("headers too long");
    return std::nullopt;
  }
  HttpRequest request;
  std::size_t length = 0;
  const std::string_view head = std::string_view(in).substr(0, head_end + 2);
  const std::size_t line_end = head.find("\r\n"), space = head.find(' ');
  const std::size_t space_2 = head.find(' ', space + 1);
  if (space == std::string_view::npos || space_2 == std::string_view::npos || space_2 > line_end)
    throw DataError("no request line");
  request.method = head.substr(0, space);
  request.path = head.substr(space + 1, space_2 - space - 1);
  for (std::size_t at = line_end + 2; at < head.size();) {
    const std::size_t end = head.find("\r\n", at), colon = head.find(':', at);
    if (colon < end) {
      const std::string name(head.substr(at, colon - at));
      std::string_view value = head.substr(colon + 1, end - colon - 1);
      while (!value.empty() && value.front() == ' ') value.remove_prefix(1);
      if (strcasecmp(name.c_str(), "content-length") == 0) std::from_chars(value.data(), value.data() + value.size(), length);
      if (strcasecmp(name.c_str(), "authorization") == 0) request.authorization = value;
      if (strcasecmp(name.c_str(), "accept-encoding") == 0) request.accept_encoding = value;
      if (strcasecmp(name.c_str(), "content-type") == 0) request.content_type = value;
    }
    at = end + 2;
  }
  if (length > kRequestMax) throw DataError("body too long");
  if (in.size() < head_end + 4 + length) return std::nullopt;
  request.body = in.substr(head_end + 4, length);
  in.erase(0, head_end + 4 + length);
  return request;
}

class PlainServer {
 public:
  PlainServer(JudgeAnswer& judge, const std::string& host, int port) : judge_(judge) {
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    const int yes = 1;
    ::setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    if (::inet_pton(AF_INET, host.c_str(), &address.sin_addr) != 1 ||
        ::bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 || ::listen(listener_, 1024) != 0) {
      throw IoError(fmt::format("{}:{}: {}", host, port, std::strerror(errno)));
    }
    socklen_t size = sizeof address;
    ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    epoll_ = ::epoll_create1(EPOLL_CLOEXEC);
    watch(EPOLL_CTL_ADD, listener_, EPOLLIN);
  }

  [[nodiscard]] int port() const { return port_; }

  [[noreturn]] void run() {
    std::array<epoll_event, 256> events{};
    for (;;) {
      int wait = -1;
      if (!timers_.empty()) {
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(timers_.begin()->first - Clock::now()).count();
        wait = static_cast<int>(std::clamp<std::int64_t>(left, 0, 60000));
      }
      const int ready = ::epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), wait);
      for (int i = 0; i < ready; ++i) {
        const auto& event = events[static_cast<std::size_t>(i)];
        if (event.data.fd == listener_) {
          accept_all();
        } else if (const auto found = connections_.find(event.data.fd); found != connections_.end()) {
          handle(*found->second, event.events);
        }
      }
      while (!timers_.empty() && timers_.begin()->first <= Clock::now()) {
        const auto action = std::move(timers_.begin()->second);
        timers_.erase(timers_.begin());
        action();
      }
    }
  }

 private:
  void watch(int what, int fd, std::uint32_t events) const {
    epoll_event event{};
    event.events = events;
    event.data.fd = fd;
    ::epoll_ctl(epoll_, what, fd, &event);
  }

  void accept_all() {
    for (;;) {
      const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd < 0) return;
      const int yes = 1;
      ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
      auto connection = std::make_shared<Connection>();
      connection->fd = fd;
      connections_[fd] = std::move(connection);
      watch(EPOLL_CTL_ADD, fd, EPOLLIN);
    }
  }

  void drop(Connection& connection, bool reset = false) {
    if (connection.fd < 0) return;
    if (reset) {
      const linger now{1, 0};
      ::setsockopt(connection.fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    }
    const int fd = std::exchange(connection.fd, -1);
    ::close(fd);
    connections_.erase(fd);
  }

  void later(double seconds, const std::shared_ptr<Connection>& connection, std::function<void(Connection&)> action) {
    timers_.emplace(Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds)),
                    [kept = std::weak_ptr(connection), action = std::move(action)] {
                      if (const auto alive = kept.lock(); alive && alive->fd >= 0) action(*alive);
                    });
  }

  void handle(Connection& connection, std::uint32_t events) {
    const std::shared_ptr<Connection> kept = connections_.at(connection.fd);
    if (events & (EPOLLERR | EPOLLHUP)) return drop(connection);
    if (events & EPOLLOUT) flush(connection);
    if (connection.fd < 0 || !(events & EPOLLIN)) return;
    char buffer[1 << 16];
    for (;;) {
      const ssize_t got = ::recv(connection.fd, buffer, sizeof buffer, 0);
      if (got == 0 || (got < 0 && errno != EAGAIN)) return drop(connection);
      if (got < 0) break;
      connection.in.append(buffer, static_cast<std::size_t>(got));
      if (static_cast<std::size_t>(got) < sizeof buffer) break;
    }
    serve_next(connection);
  }

  void serve_next(Connection& connection) {
    if (connection.fd < 0 || connection.busy) return;
    std::optional<HttpRequest> request;
    try {
      request = take_request(connection.in);
    } catch (const DataError&) {
      return drop(connection);
    }
    if (!request) return;
    connection.busy = true;
    auto reply = std::make_shared<HttpReply>(judge_.answer(*request));
    if (reply->delay_s <= 0) return begin(connection, *reply);
    later(reply->delay_s, connections_.at(connection.fd), [this, reply](Connection& c) { begin(c, *reply); });
  }

  void begin(Connection& connection, HttpReply& reply) {
    using Wire = HttpReply::Wire;
    if (reply.wire == Wire::reset) return drop(connection, true);
    if (reply.wire == Wire::raw) {
      connection.out = reply.body;
      connection.close_after = true;
      return flush(connection);
    }
    connection.out = fmt::format("HTTP/1.1 {} {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n", reply.status,
                                 reason_of(reply.status), reply.body.size());
    for (const auto& [name, value] : reply.headers) connection.out += name + ": " + value + "\r\n";
    connection.out += "\r\n";
    if (reply.wire == Wire::cut_body) {
      connection.out += reply.body.substr(0, reply.body.size() / 2);
      connection.close_after = true;
    } else if (reply.wire == Wire::slow_body) {
      const std::size_t step = reply.body.size() / kSlowPieces + 1;
      for (std::size_t at = 0; at < reply.body.size(); at += step) connection.pieces.push_back(reply.body.substr(at, step));
      std::reverse(connection.pieces.begin(), connection.pieces.end());
    } else {
      connection.out += reply.body;
    }
    flush(connection);
  }

  void flush(Connection& connection) {
    while (connection.sent < connection.out.size()) {
      const ssize_t put =
          ::send(connection.fd, connection.out.data() + connection.sent, connection.out.size() - connection.sent, MSG_NOSIGNAL);
      if (put < 0 && errno == EAGAIN) {
        if (!std::exchange(connection.waits_to_write, true)) watch(EPOLL_CTL_MOD, connection.fd, EPOLLIN | EPOLLOUT);
        return;
      }
      if (put < 0) return drop(connection);
      connection.sent += static_cast<std::size_t>(put);
    }
    if (std::exchange(connection.waits_to_write, false)) watch(EPOLL_CTL_MOD, connection.fd, EPOLLIN);
    connection.out.clear();
    connection.sent = 0;
    if (connection.out.capacity() > (1 << 20)) connection.out.shrink_to_fit();
    if (!connection.pieces.empty()) {
      later(judge_.slow_s() / kSlowPieces, connections_.at(connection.fd), [this](Connection& c) {
        c.out = std::move(c.pieces.back());
        c.pieces.pop_back();
        flush(c);
      });
      return;
    }
    if (connection.close_after) return drop(connection);
    if (!std::exchange(connection.busy, false)) return;
    serve_next(connection);
  }

  JudgeAnswer& judge_;
  int listener_ = -1, epoll_ = -1, port_ = 0;
  std::unordered_map<int, std::shared_ptr<Connection>> connections_;
  std::multimap<Clock::time_point, std::function<void()>> timers_;
};

}  // namespace

void serve_plain(JudgeAnswer& judge, const std::string& address, int port, const std::function<void(int)>& listening) {
  PlainServer server(judge, address, port);
  listening(server.port());
  server.run();
}

}  // namespace dmoerm::judge_server
