// An HTTP server whose answers may come later and from any thread. One thread waits for all connections, so that clients which
// read or write slowly cost memory but hold nobody up. Another unpacks bodies that came compressed.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "serve/exchange.h"

namespace dmoerm::serve {

struct HttpOptions {
  std::string host = "127.0.0.1";
  int port = 0;                             ///< 0: any free one
  std::string certificate{}, key{};         ///< PEM texts; empty: no TLS
  std::vector<std::string> origins{};       ///< Whose pages may ask from a browser, beside the server's own
  std::int64_t body_bytes_max = 8 << 20;    ///< Longest body of a request
  std::int64_t bodies_bytes_max = 1 << 29;  ///< Bytes of all bodies that are held at a time, unpacked
  unsigned connections_max = 1024;
  double header_s = 10;  ///< Longest time from the connection to the end of the first request's headers
  double body_s = 30;    ///< Longest time from there to the end of the body
  double write_s = 30;   ///< Longest time that a client may take to read an answer
  double idle_s = 75;    ///< Longest time between an answer and the end of the next request's headers
};

/// The connections of a server at the moment.
struct ConnectionGauges {
  std::size_t connections = 0, under_way = 0;
  std::uint64_t timed_out = 0;  ///< Closed because a client took too long
};

class HttpServer {
 public:
  /// Gives an answer that needs no body, or refuses: called after the headers, before the body is read. Must not wait.
  using Check = std::function<std::optional<HttpAnswer>(const HttpRequest& request)>;
  /// Gets each whole request and has it answered, at once or later. Must not wait. Two threads may call it at a time.
  using Handler = std::function<void(std::shared_ptr<Exchange> exchange)>;
  /// Makes an answer for what the server itself refuses: a body that is too long, with the sentence that says so.
  using Refusal = std::function<HttpAnswer(const HttpRequest& request, int status, ErrorCode code, const std::string& message)>;

  /// Listen and serve.
  /// @throws ConfigError if the address is not this machine's, the port is taken, or TLS cannot be set up
  HttpServer(const HttpOptions& options, Check check, Handler handler, Refusal refusal);
  ~HttpServer();  ///< as finish()
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  /// Accept nothing more, wait for exchanges without an answer to get theirs, and for a moment until clients have read them.
  void finish();

  [[nodiscard]] int port() const;
  /// Accept no more connections; those that are open stay, but close after their answer.
  void stop_accepting();
  /// Requests that wait for an answer, whose answer is being read, or whose body has been coming for less than a second.
  [[nodiscard]] std::size_t under_way() const;
  [[nodiscard]] ConnectionGauges gauges() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace dmoerm::serve
