// The batch API of the test judge, like OpenAI's: uploaded files, batches over them, their result files. All in memory.
#pragma once
#include <chrono>
#include <functional>
#include <map>
#include <mutex>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "judge_answer.h"

namespace dmoerm::judge_server {

/// Safe for several threads.
class BatchStore {
 public:
  /// @param delay_s  seconds from the creation of a batch to its end  @param answer  answers the request body of one line
  BatchStore(double delay_s, std::function<HttpReply(const std::string& body)> answer)
      : delay_s_(delay_s), answer_(std::move(answer)) {}

  /// POST /v1/files with a multipart body of the fields "purpose" and "file".
  HttpReply upload(const HttpRequest& request);
  /// POST /v1/batches. All lines are answered, and charged, at once; the results become visible after the delay.
  /// @param kind  "", or a misbehaviour: batch_fails, batch_expires (with half of its lines), batch_missing_line, batch_bad_line;
  /// batch_page and batch_half (the first reading of its results is a web page, or cut off), batch_half_always,
  /// batch_lost_nameless and batch_lost_unlisted (lists show its file and no metadata, or not at all),
  /// batch_dialect (another server's spelling of status, status_code and body)
  HttpReply create(const std::string& body, const std::string& kind);
  /// GET below /v1/batches and /v1/files.
  HttpReply get(const std::string& target);

 private:
  struct Batch {
    std::string id, input, output, errors, end;  ///< `end` is the status at its end
    std::string metadata;                        ///< JSON
    std::string kind;
    std::vector<std::string> failures;  ///< Failures of the validation
    std::size_t total = 0, completed = 0, failed = 0;
    std::chrono::steady_clock::time_point created;
  };
  [[nodiscard]] nlohmann::json shown(const Batch& batch) const;
  std::string keep(std::string content);
  HttpReply list(const std::string& query) const;
  void run(Batch& batch, const std::string& kind);

  double delay_s_;
  std::function<HttpReply(const std::string& body)> answer_;
  std::mutex mutex_;
  std::map<std::string, std::string> files_;  ///< Content by id
  std::map<std::string, std::string> once_;   ///< Content of the first reading, if that is another
  std::vector<Batch> batches_;                ///< Batches, the newest last
};

}  // namespace dmoerm::judge_server
