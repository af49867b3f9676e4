// Many HTTP requests at once in one thread: libcurl's multi interface driven by epoll. Besides web_address.cpp no other
// file uses libcurl.
#pragma once
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "config/label_config.h"
#include "judge/rate_headers.h"

namespace dmoerm::judge {

/// Where requests go: an address below an endpoint's, with its credentials.
struct HttpTarget {
  config::EndpointConfig endpoint;                ///< The address, CA file and time limits are used; the key is `bearer`
  std::string path = {};                          ///< Path below the endpoint's address, e.g. /chat/completions
  std::string bearer = {};                        ///< Token sent as "Authorization: Bearer ..."; empty: none
  std::string content_type = "application/json";  ///< Content type of posted bodies
};

/// How one request ended.
struct HttpResult {
  enum class End : std::uint8_t {
    replied,       ///< A whole reply came: status, body
    not_reached,   ///< There was no connection: nothing was sent
    untrusted,     ///< The certificate is not valid: nothing was sent
    other_scheme,  ///< The server speaks http at an https address, or https at an http one: it read no request
    cut_off,  ///< The request was sent, at least in part, then timed out, was reset or garbled: the server may have done the work
    too_big,  ///< The reply is larger than the limit
    long_headers  ///< The headers of the reply are longer than libcurl reads: the server has done the work
  };
  std::uint64_t id = 0;
  End end = End::not_reached;
  int status = 0;
  std::string body;
  std::string asked;     ///< Address that was asked, without its query
  std::string location;  ///< Target of a redirect, which is never followed
  std::string problem;   ///< What went wrong; empty if `replied`
  RateHeaders headers;
  std::int64_t tokens = -1;  ///< Tokens that the server read, by its header X-Compute-Tokens; -1 if it does not say
  std::string prompt_found;  ///< How it found the prompt in a text, by its header X-Prompt-Found; "" if it does not say
  double seconds = 0;
};

/// For one thread.
class HttpMulti {
 public:
  /// @param connections_max  connections that are kept open
  /// @param body_bytes_max   largest reply, unpacked
  HttpMulti(int connections_max, std::size_t body_bytes_max);
  ~HttpMulti();
  HttpMulti(const HttpMulti&) = delete;
  HttpMulti& operator=(const HttpMulti&) = delete;

  /// @return the target's number, for start() and get()
  /// @throws ConfigError for an address that is not http(s), has no host or carries a password, a time limit that is not above 0,
  /// or an unreadable CA file
  int add_target(HttpTarget target);
  /// Post `body`. It is sent at most once: where libcurl would silently repeat it on a new connection, the request ends as
  /// `cut_off`.
  /// @param body  must stay alive and unchanged until step() returns the result of `id`
  void start(std::uint64_t id, int target, const std::string& body);
  /// Get `path` below the target's address; it may end in a query.
  void get(std::uint64_t id, int target, const std::string& path);
  /// Send and receive for at most `wait`, less if a request ends. @return the requests that ended
  std::vector<HttpResult> step(std::chrono::milliseconds wait);
  /// Requests whose results step() has not returned yet.
  [[nodiscard]] std::size_t in_flight() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace dmoerm::judge
