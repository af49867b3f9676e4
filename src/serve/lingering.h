// Connections that are answered while their clients still send.
#pragma once
#include <cstdint>
#include <vector>

#include "serve/clock.h"

namespace dmoerm::serve {

/// Reads and forgets what clients still send after their answer. If a connection were closed before, the system would tell the
/// client that it is broken, and many clients would never see the answer. Its functions never wait; one thread at a time calls.
class Lingering {
 public:
  /// @param seconds  longest time that a client is read on
  explicit Lingering(double seconds) : seconds_(seconds) {}
  ~Lingering();
  Lingering(const Lingering&) = delete;
  Lingering& operator=(const Lingering&) = delete;

  /// Keep a connection whose answer is sent and that its owner closes now.
  void keep(int socket);
  /// Read what has come, and close connections whose clients are done or send too much or too long.
  void read_on();
  [[nodiscard]] bool empty() const { return connections_.empty(); }

 private:
  struct Connection {
    int socket = -1;
    std::int64_t bytes = 0;
    Clock::time_point since = Clock::now();
  };
  [[nodiscard]] bool goes_on(Connection& connection) const;
  const double seconds_;
  std::vector<Connection> connections_;
};

}  // namespace dmoerm::serve
