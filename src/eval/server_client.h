// Asks a reward server: several requests at once, each repeated where that can help, so that a server under load or one that
// restarts does not end an evaluation.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

#include "eval/server_address.h"
#include "judge/http_multi.h"
#include "judge/rate_limit.h"

namespace dmoerm::eval {

/// The environment variable with the API key that is sent to servers, the same as that of `dmoerm serve` and its guides. It need
/// not be set.
inline constexpr const char* kServerKey = "DMOERM_API_KEY";

/// When to ask again and when to give up.
struct ServerPolicy {
  int tries_max = 6;             ///< Tries of a request that meets 408, 425, 5xx, a time limit or a broken connection
  int throttled_tries_max = 30;  ///< Tries of a request that is answered with 429 or 503
  double pause_max_s = 600;      ///< Longest pause that a server may ask for
  double request_timeout_s = 300;
  int concurrency_max = 32;  ///< Requests at once; fewer while the server answers that they are too many
  judge::Backoff backoff = {0.5, 20};
  std::uint64_t seed = 17;  ///< Seed of the jitter
};

/// Requests by their number, from 0.
struct ServerRequests {
  std::size_t count = 0;
  std::function<std::string(std::size_t)> body;                      ///< Its JSON, asked for once
  std::function<std::string(std::size_t)> place;                     ///< What it is about, for errors: "pairs.jsonl:3: g2"
  std::function<void(std::size_t, const judge::HttpResult&)> reply;  ///< Gets its reply, whose status is one of success
};

/// Send all requests. Certificates are checked against those of the system, or of the file in SSL_CERT_FILE if it is set.
/// @throws ConfigError for a bad address or key, a key, path or scheme that the server does not accept, or a redirect; DataError
/// for a request that the server refuses; IoError if it does not answer; Stopped after a signal. Each names the address, the
/// status and what the server says.
void ask_server(const ServerAddress& address, const ServerRequests& requests, const ServerPolicy& policy = {});

}  // namespace dmoerm::eval
