// Many HTTP requests at once in one thread: libcurl's multi interface driven by epoll. The only place that knows libcurl.
#pragma once
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "judge/rate_headers.h"

namespace dmoerm::judge {

/// Where requests go: one address with its credentials.
struct HttpTarget {
  std::string url;                                ///< whole address, or what all addresses have in front
  std::string bearer;                             ///< sent as "Authorization: Bearer ..."; empty: none
  std::string ca_file;                            ///< certificates to trust instead of the system's; empty: the system's
  double connect_timeout_s = 10;                  ///< name, TCP and TLS together
  double request_timeout_s = 120;                 ///< from start to last byte
  std::string content_type = "application/json";  ///< of what is posted
};

/// How one request ended.
struct HttpResult {
  enum class End : std::uint8_t {
    replied,      ///< a whole reply: status, body
    not_reached,  ///< no connection: nothing was sent
    untrusted,    ///< the certificate does not hold: nothing was sent
    cut_off,      ///< sent, at least in part, then timed out, reset or garbled: the server may have done the work
    too_big       ///< the reply is larger than the limit
  };
  std::uint64_t id = 0;
  End end = End::not_reached;
  int status = 0;
  std::string body;
  std::string location;  ///< of a redirect, which is never followed
  std::string problem;   ///< what went wrong, if not `replied`
  RateHeaders headers;
  double seconds = 0;
};

/// Not for use by several threads.
class HttpMulti {
 public:
  /// @param connections_max  kept open
  /// @param body_bytes_max   of a reply, unpacked
  HttpMulti(int connections_max, std::size_t body_bytes_max);
  ~HttpMulti();
  HttpMulti(const HttpMulti&) = delete;
  HttpMulti& operator=(const HttpMulti&) = delete;

  /// @return its number, for start()
  /// @throws ConfigError for an address that is not http(s), has no host or carries a password, a time limit that is not above 0,
  /// or an unreadable CA file
  int add_target(HttpTarget target);
  /// Post `body`. It is sent at most once: where libcurl would silently repeat it on a fresh connection, the request ends as
  /// `cut_off`.
  /// @param body  stays alive and unchanged until the result of `id` was given
  void start(std::uint64_t id, int target, const std::string& body);
  /// Get `path` below the target's address; a query may stand at its end.
  void get(std::uint64_t id, int target, const std::string& path);
  /// Move data for at most `wait`, less if a request ends. @return those that ended
  std::vector<HttpResult> step(std::chrono::milliseconds wait);
  [[nodiscard]] std::size_t in_flight() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// The address of `path` below the base address: "https://host/v1" and "/chat/completions"; a query of the base stays at the end,
/// behind that of the path.
std::string join_url(const std::string& base, const std::string& path);

}  // namespace dmoerm::judge
