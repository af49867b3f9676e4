// A request, and its answer, which may come later and from another thread.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "serve/clock.h"

namespace dmoerm::serve {

struct HttpRequest {
  std::string method, path;                    ///< path without "?..."
  std::map<std::string, std::string> headers;  ///< Names in lower case
  std::string body;
  std::string peer;                       ///< Address of the client
  std::uint64_t connection = 0;           ///< Number of the connection
  std::int64_t stated_length = -1;        ///< Content-Length; -1: the client stated none
  bool counted = false;                   ///< whether the front of this rank counts it
  Clock::time_point came = Clock::now();  ///< When its body ended; a packed one may wait to be unpacked from then
  /// A header's value without the white space around it, which is no part of it; "" if there is none. @param name  in lower case
  [[nodiscard]] std::string header(const std::string& name) const;
};

struct HttpAnswer {
  int status = 200;
  std::string body, type = "application/json";
  std::vector<std::pair<std::string, std::string>> headers{};
  std::int64_t texts = 0, tokens = 0;  ///< What was scored for it
};

/// One request that waits for its answer.
class Exchange {
 public:
  HttpRequest request;
  /// An exchange of another kind than HTTP. @param deliver  gets the answer
  static std::shared_ptr<Exchange> make(HttpRequest request, std::function<void(HttpAnswer)> deliver);
  /// Send the answer. Later calls are ignored. Any thread may call.
  void answer(HttpAnswer answer);
  /// Have `cancel` called, at most once, if the client hangs up before the answer. It is called at once if that has happened.
  void when_gone(std::function<void()> cancel);
  /// The client hung up.
  void hang_up();

 private:
  friend class HttpServer;
  std::mutex mutex_;
  std::optional<HttpAnswer> answer_;
  std::function<void()> cancel_, resume_;
  bool gone_ = false;
};

}  // namespace dmoerm::serve
