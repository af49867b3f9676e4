// The test judge without its network: what it answers to one HTTP request, the witness log, the rate limit.
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
  std::string data;  ///< rows of preference data; empty: verdicts from the texts
  std::vector<std::string> misbehave;
  std::string log;              ///< witness file; empty: none
  std::string key;              ///< the API key to demand; empty: none
  std::string model;            ///< the one model there is; empty: any
  int requests_per_minute = 0;  ///< of any 60 s; 0 = no limit
  double latency_ms = 0;        ///< thinking time
  double batch_delay_s = 1;     ///< from the creation of a batch to its end
  double slow_s = 5;            ///< of slow_headers, and of slow_body in all
  bool no_schema = false;       ///< answer 400 to requests with a response_format
  bool gzip = false;            ///< compress where the client takes it
  std::uint64_t seed = 17;
};

struct HttpRequest {
  std::string method, path /* with its query */, body, authorization, accept_encoding, content_type;
};

struct HttpReply {
  enum class Wire : std::uint8_t {
    whole,
    reset,      ///< no reply, connection reset
    cut_body,   ///< half of the body, then the end
    slow_body,  ///< in pieces, over slow_s
    raw         ///< the body alone, as it is: not HTTP
  };
  int status = 200;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;
  Wire wire = Wire::whole;
  double delay_s = 0;  ///< before the first byte
};

class BatchStore;

/// May be used by several threads.
class JudgeAnswer {
 public:
  /// @throws ConfigError, IoError, DataError
  explicit JudgeAnswer(const AnswerOptions& options);
  ~JudgeAnswer();
  JudgeAnswer(const JudgeAnswer&) = delete;
  JudgeAnswer& operator=(const JudgeAnswer&) = delete;

  /// Decide on a request and write it to the log: a line "<sha256 of the body> <ms since 1970> <status, 0 if none is sent>
  /// <misbehaviour or ->", before a byte of it is sent.
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
  std::deque<std::chrono::steady_clock::time_point> accepted_;  ///< of the last minute
};

}  // namespace dmoerm::judge_server
