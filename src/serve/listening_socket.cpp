#include "serve/listening_socket.h"

#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include "base/error.h"

namespace dmoerm::serve {

int listen_at(const std::string& host, int port) {
  addrinfo hints{}, *found = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_family = host == "localhost" ? AF_INET : AF_UNSPEC;  // not ::1, which clients of 127.0.0.1 do not reach
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  if (const int problem = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found); problem != 0)
    throw ConfigError("unknown-host", fmt::format("--host {}: {}", host, ::gai_strerror(problem)));
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> addresses(found, ::freeaddrinfo);
  const int socket = ::socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), yes = 1;
  if (socket >= 0) ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (socket >= 0 && ::bind(socket, found->ai_addr, found->ai_addrlen) == 0 && ::listen(socket, 1024) == 0) return socket;
  const int problem = errno;
  if (socket >= 0) ::close(socket);
  if (problem == EADDRINUSE)
    throw ConfigError("port-is-taken", fmt::format("--port {}: another program listens at {} port {}: end it, or name another "
                                                   "port (0 = any free one)",
                                                   port, host, port));
  throw ConfigError("cannot-listen", fmt::format("cannot listen at {} port {}: {}", host, port, std::strerror(problem)));
}

int port_of(int socket) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  ::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size);
  return ntohs(address.ss_family == AF_INET6 ? reinterpret_cast<const sockaddr_in6&>(address).sin6_port
                                             : reinterpret_cast<const sockaddr_in&>(address).sin_port);
}

}  // namespace dmoerm::serve
