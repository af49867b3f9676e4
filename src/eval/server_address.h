// The address of a reward server as the command line names it, and the protocol that its path stands for.
#pragma once
#include <cstdint>
#include <string>

namespace dmoerm::eval {

enum class ServerProtocol : std::uint8_t {
  reward,      ///< /v1/reward of `dmoerm serve`: messages and responses; the server applies its own template
  get_reward,  ///< /get_reward of OpenRLHF: texts in a template
  classify,    ///< /classify of vLLM: a conversation, or a text in a template
  pooling      ///< /pooling of vLLM: the same
};
/// "dmoerm", "OpenRLHF", "vLLM classify", "vLLM pooling"
const char* name_of(ServerProtocol protocol);

struct ServerAddress {
  std::string url;    ///< Address to ask, with the protocol's path and a query if there is one
  std::string shown;  ///< The same without the query, which may hold secrets
  std::string model;  ///< The model to ask for, which stands behind "#"; "" = the server's default
  ServerProtocol protocol = ServerProtocol::reward;
};

/// Read "http://HOST:PORT/PATH#MODEL". The path chooses the protocol, behind any folders of a proxy; without one it is
/// /v1/reward.
/// @throws ConfigError for an address that is not http(s), has no port from 1 to 65535 or holds a password, and for a path of no
/// known protocol
ServerAddress parse_server(const std::string& text);

}  // namespace dmoerm::eval
