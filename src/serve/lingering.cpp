#include "serve/lingering.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>

namespace dmoerm::serve {
namespace {

constexpr std::size_t kConnectionsMax = 32;      // they are files beyond those that the server counts
constexpr std::int64_t kBytesMax = 256LL << 20;  // of one client
constexpr int kPiecesAtATime = 8;                // so that one client does not hold up the others

}  // namespace

Lingering::~Lingering() {
  for (const Connection& connection : connections_) ::close(connection.socket);
}

void Lingering::keep(int socket) {
  if (connections_.size() >= kConnectionsMax) return;
  if (const int own = ::fcntl(socket, F_DUPFD_CLOEXEC, 0); own >= 0) {
    ::shutdown(own, SHUT_WR);  // the client sees the answer's end
    connections_.push_back({own});
  }
}

bool Lingering::goes_on(Connection& connection) const {
  std::array<char, 32 << 10> piece{};
  for (int i = 0; i < kPiecesAtATime; ++i) {
    const ssize_t got = ::recv(connection.socket, piece.data(), piece.size(), MSG_DONTWAIT);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) break;
    if (got <= 0) return false;
    connection.bytes += got;
  }
  return connection.bytes <= kBytesMax && seconds_since(connection.since) <= seconds_;
}

void Lingering::read_on() {
  std::erase_if(connections_, [this](Connection& connection) {
    if (goes_on(connection)) return false;
    ::close(connection.socket);
    return true;
  });
}

}  // namespace dmoerm::serve
