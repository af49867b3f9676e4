// The test judge without its network: its answer to one HTTP request, its log of requests, its rate limit.
#pragma once
#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "misbehaviour.h"
#include "verdict_source.h"

namespace dmoerm::judge_server {

struct AnswerOptions {
  std::string data;  ///< Rows of preference data; empty: verdicts from the texts
  std::vector<std::string> misbehave;
  std::string log;              ///< File that logs the requests; empty: none
  std::string key;              ///< API key to demand; empty: none
  std::string model;            ///< Only model that exists; empty: any
  int requests_per_minute = 0;  ///< Limit in any 60 s; 0 = unlimited
  double latency_ms = 0;        ///< Time before an answer
  double batch_delay_s = 1;     ///< Time from the creation of a batch to its end
  double slow_s = 5;            ///< Delay of slow_headers, and total time of slow_body
  bool no_schema = false;       ///< Whether requests with a response_format are answered with 400
  bool gzip = false;            ///< Whether replies are compressed if the client accepts it
  std::uint64_t seed = 17;
};

struct HttpRequest {
  std::string method, path /* with its query */, body, authorization, accept_encoding, content_type;
};

struct HttpReply {
  enum class Wire : std::uint8_t {
    whole,
    reset,      ///< No reply, the connection is reset
    cut_body,   ///< Half of the body, then the connection is closed
    slow_body,  ///< The body in pieces, over slow_s
    raw         ///< The body alone, which is not HTTP
  };
  int status = 200;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;
  Wire wire = Wire::whole;
  double delay_s = 0;  ///< Delay before the first byte
};

class BatchStore;

/// Safe for several threads.
class JudgeAnswer {
 public:
  /// @throws ConfigError, IoError, DataError
  explicit JudgeAnswer(const AnswerOptions& options);
  ~JudgeAnswer();
  JudgeAnswer(const JudgeAnswer&) = delete;
  JudgeAnswer& operator=(const JudgeAnswer&) = delete;

  /// Choose the answer to a request and log it before a byte is sent: a line "<sha256 of the body> <ms since 1970> <status, 0 if
  /// none is sent> <misbehaviour or ->".
  HttpReply answer(const HttpRequest& request);
  [[nodiscard]] double slow_s() const { return options_.slow_s; }

 private:
  HttpReply decide(const HttpRequest& request, const Digest& digest, std::string& kind);
  HttpReply decide_batch(const HttpRequest& request, const Digest& digest, std::string& kind);
  HttpReply answer_line(const std::string& body);
  HttpReply fault(const std::string& kind, const HttpRequest& request);
  HttpReply complete(const HttpRequest& request, const std::string& kind);
  HttpReply limited(HttpReply reply, bool& refused);
  void witness(const Digest& digest, int status, const std::string& kind) const;

  AnswerOptions options_;
  VerdictSource source_;
  Misbehaviour misbehaviour_;
  std::unique_ptr<BatchStore> batches_;
  int log_ = -1;
  std::mutex mutex_;
  std::deque<std::chrono::steady_clock::time_point> accepted_;  ///< Times of the last minute
};

}  // namespace dmoerm::judge_server
