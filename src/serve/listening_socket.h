// The socket at which a server listens.
#pragma once
#include <string>

namespace dmoerm::serve {

/// A socket that listens, without SO_REUSEPORT, with which a second server would share the port of the first.
/// @param port  0 = any free one
/// @throws ConfigError if the address is not this machine's or the port is taken
int listen_at(const std::string& host, int port);
/// The port at which a socket listens.
int port_of(int socket);

}  // namespace dmoerm::serve
