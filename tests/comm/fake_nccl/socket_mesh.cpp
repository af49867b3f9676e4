#include "comm/fake_nccl/socket_mesh.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>

namespace dmoerm::test {
namespace {

/// A name of Linux's own space of sockets, which no file stands for.
struct Address {
  explicit Address(const std::string& name) {
    where.sun_family = AF_UNIX;
    if (name.size() + 1 > sizeof where.sun_path) throw std::length_error("the name of a group is too long: " + name);
    std::memcpy(where.sun_path + 1, name.data(), name.size());
    length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  }
  sockaddr_un where{};
  socklen_t length;
  [[nodiscard]] const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&where); }
};

int new_socket() {
  const int made = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (made < 0) throw std::runtime_error(fmt::format("socket: {}", std::strerror(errno)));
  return made;
}

}  // namespace

SocketMesh::SocketMesh(std::string name, int rank, int size)
    : name_(std::move(name)), rank_(rank), size_(size), sockets_(static_cast<std::size_t>(size), -1) {
  const Address own(fmt::format("{}/{}", name_, rank_));
  listener_ = new_socket();
  if (bind(listener_, own.get(), own.length) != 0 || listen(listener_, size_) != 0)
    throw std::runtime_error(fmt::format("cannot listen as rank {} of {}: {}", rank_, name_, std::strerror(errno)));
}

SocketMesh::~SocketMesh() {
  close(listener_);
  for (const int s : sockets_) {
    if (s >= 0) close(s);
  }
}

int SocketMesh::dial(int peer) const {
  const Address address(fmt::format("{}/{}", name_, peer));
  const int made = new_socket();
  while (::connect(made, address.get(), address.length) != 0) {
    if (aborted_) {
      close(made);
      throw MeshBroken("aborted");
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(2));  // it does not listen yet
  }
  return made;
}

void SocketMesh::keep(int peer, int socket) {
  const std::scoped_lock lock(mutex_);
  sockets_.at(static_cast<std::size_t>(peer)) = socket;
}

void SocketMesh::connect() {
  for (int peer = 0; peer < rank_; ++peer) {
    keep(peer, dial(peer));
    send(peer, &rank_, sizeof rank_);
  }
  for (int more = rank_ + 1; more < size_; ++more) {
    wait_for(listener_, POLLIN);
    const int made = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    int peer = -1;
    wait_for(made, POLLIN);
    if (recv(made, &peer, sizeof peer, MSG_WAITALL) != sizeof peer) throw MeshBroken("a rank left while it joined");
    keep(peer, made);
  }
}

void SocketMesh::wait_for(int socket, short events) const {
  for (;;) {
    if (aborted_) throw MeshBroken("aborted");
    pollfd one{socket, events, 0};
    if (poll(&one, 1, 5) > 0) return;
  }
}

void SocketMesh::transfer(int peer, short events, std::size_t count,
                          const std::function<ssize_t(int socket, std::size_t done)>& step) {
  const int socket = sockets_.at(static_cast<std::size_t>(peer));
  for (std::size_t done = 0; done < count;) {
    wait_for(socket, events);
    const ssize_t moved = step(socket, done);
    if (moved < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (moved <= 0) throw MeshBroken(fmt::format("rank {} has left", peer));
    done += static_cast<std::size_t>(moved);
  }
}

void SocketMesh::send(int peer, const void* bytes, std::size_t count) {
  transfer(peer, POLLOUT, count, [&](int socket, std::size_t done) {
    return ::send(socket, static_cast<const char*>(bytes) + done, count - done, MSG_DONTWAIT | MSG_NOSIGNAL);
  });
}

void SocketMesh::receive(int peer, void* bytes, std::size_t count) {
  transfer(peer, POLLIN, count, [&](int socket, std::size_t done) {
    return recv(socket, static_cast<char*>(bytes) + done, count - done, MSG_DONTWAIT);
  });
}

void SocketMesh::abort() {
  aborted_ = true;
  aborted_.notify_all();
  const std::scoped_lock lock(mutex_);
  for (const int s : sockets_) {
    if (s >= 0) shutdown(s, SHUT_RDWR);
  }
}

}  // namespace dmoerm::test
