// Ranks of a group, each connected with every other by a Unix socket.
#pragma once
#include <sys/types.h>

#include <atomic>
#include <cstddef>
#include <functional>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

namespace dmoerm::test {

/// A peer has closed its end, or abort() was called.
class MeshBroken : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

class SocketMesh {
 public:
  /// @param name  the same on all ranks of the group, and of no other group of this machine
  SocketMesh(std::string name, int rank, int size);
  ~SocketMesh();
  SocketMesh(const SocketMesh&) = delete;
  SocketMesh& operator=(const SocketMesh&) = delete;

  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] int rank() const { return rank_; }
  [[nodiscard]] int size() const { return size_; }

  /// Wait for all ranks. @throws MeshBroken, as the calls below do
  void connect();
  void send(int peer, const void* bytes, std::size_t count);
  void receive(int peer, void* bytes, std::size_t count);

  /// Close all connections; calls of other threads end.
  void abort();
  /// Wait until another thread calls abort().
  void wait_for_abort() const { aborted_.wait(false); }

 private:
  /// Wait until `events` may happen. @throws MeshBroken after abort()
  void wait_for(int socket, short events) const;
  void transfer(int peer, short events, std::size_t count, const std::function<ssize_t(int socket, std::size_t done)>& step);
  int dial(int peer) const;
  /// Keep a connection, for abort() to close.
  void keep(int peer, int socket);
  std::string name_;
  int rank_, size_;
  int listener_ = -1;
  std::mutex mutex_;          ///< guards sockets_ while they are made
  std::vector<int> sockets_;  ///< One a rank; this rank's is -1
  std::atomic<bool> aborted_ = false;
};

}  // namespace dmoerm::test
