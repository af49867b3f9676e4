#include "eval/server_address.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "base/error.h"
#include "base/text.h"
#include "judge/web_address.h"

namespace dmoerm::eval {
namespace {

struct Row {
  ServerProtocol protocol;
  const char *path, *name;
};
constexpr std::array<Row, 4> kProtocols = {{{ServerProtocol::reward, "/v1/reward", "dmoerm"},
                                            {ServerProtocol::get_reward, "/get_reward", "OpenRLHF"},
                                            {ServerProtocol::classify, "/classify", "vLLM classify"},
                                            {ServerProtocol::pooling, "/pooling", "vLLM pooling"}}};

/// The place of the host in an address, behind "http://" or "https://". @throws ConfigError
std::size_t host_of(const std::string& url) {
  const std::string text = lower(url);
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (text.starts_with(scheme) && text.size() > scheme.size() && text[scheme.size()] != '/') return scheme.size();
  }
  throw ConfigError("server-address",
                    fmt::format("server:{}: expected the address of a server, such as server:http://127.0.0.1:8000",
                                judge::shown_address(url)));
}

/// @throws ConfigError
ServerProtocol protocol_of(const std::string& path, const std::string& shown) {
  // A path of SGLang's OpenAI-like API, whose softmax makes every score of a reward model 1.
  const bool sglang = path.ends_with("/v1/classify");
  for (const Row& row : kProtocols) {
    if (path.ends_with(row.path) && !sglang) return row.protocol;
  }
  throw ConfigError(
      "server-path-unknown",
      fmt::format("server:{}: no protocol is known for the path {}; expected none or /v1/reward (dmoerm serve), /get_reward "
                  "(OpenRLHF), /classify or /pooling (vLLM)",
                  shown, path));
}

}  // namespace

const char* name_of(ServerProtocol protocol) { return std::ranges::find(kProtocols, protocol, &Row::protocol)->name; }

ServerAddress parse_server(const std::string& text) {
  const std::size_t hash = std::min(text.find('#'), text.size());
  ServerAddress address;
  address.url = text.substr(0, hash);
  address.model = text.substr(std::min(hash + 1, text.size()));
  const std::size_t host = host_of(address.url), path = std::min(address.url.find_first_of("/?", host), address.url.size());
  if (address.url.substr(host, path - host).find('@') != std::string::npos)
    throw ConfigError("server-address-password",
                      fmt::format("server:{}...: the address contains a user or password: remove it, and set the environment "
                                  "variable DMOERM_API_KEY to the server's key",
                                  address.url.substr(0, host)));
  if (const std::string problem = judge::address_problem(address.url); !problem.empty())
    throw ConfigError("server-address", fmt::format("server:{}: {}", judge::shown_address(address.url), problem));
  const bool bare = address.url.find_first_not_of('/', path) >= std::min(address.url.find('?'), address.url.size());
  address.url = judge::join_url(address.url, bare ? "/v1/reward" : "");
  address.shown = address.url.substr(0, address.url.find('?'));
  address.protocol = protocol_of(address.shown.substr(path), address.shown);
  return address;
}

}  // namespace dmoerm::eval
