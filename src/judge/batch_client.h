// Asks a judge through the provider's batch API (OpenAI's): cheaper, answered within a day, up to 50,000 requests a file. It can
// be killed at any moment: no request is paid twice, and every paid reply is collected.
//
//   add() -> file -> POST /files -> record on disk -> POST /batches -> GET /batches/{id} until it has ended -> GET
//   /files/{id}/content -> step() -> acknowledge()
//
// If a kill or a lost reply leaves it unclear whether a batch was created, the client searches for it by the name that it gave
// the batch, and by its file, before it creates another one. The first then counts as perhaps charged.
#pragma once
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "judge/batch_job.h"
#include "judge/judge_client.h"

namespace dmoerm::judge {

struct BatchPolicy {
  std::size_t requests_max = 50'000;         ///< Requests in one file
  std::size_t bytes_max = 200'000'000;       ///< Size of one file
  int batches_max = 20;                      ///< Batches that may wait for the provider
  double poll_min_s = 10, poll_max_s = 300;  ///< Pause between two polls of a batch; it grows from the first value to the second
  double lookup_pause_s = 30;     ///< Pause before the second search for a batch; if that fails too, it is created again
  double transfer_time_s = 1800;  ///< Time limit of one upload or download
  double outage_max_s = 900;      ///< Time without any success after which the client stops
  double backoff_base_s = 1, backoff_cap_s = 60;
  std::size_t results_bytes_max = std::size_t{1} << 30;  ///< Size of one file of results, which is held in memory
  std::uint64_t seed = 0;                                ///< Seed of the jitter; 0 = a different one each time
};

struct BatchReply {
  std::string id;
  JudgeReply reply;  ///< ok, refused, error, or cancelled (not answered, may be added again at once); `ticket` is unused
};

/// One batch, complete: a reply for each of its requests.
struct BatchResults {
  std::string batch;  ///< Name for acknowledge()
  std::vector<BatchReply> replies;
};

/// For one thread, and one process per folder.
class BatchClient {
 public:
  /// Continues with the batches recorded in `folder`. @throws ConfigError as JudgeClient does, IoError, DataError for a damaged
  /// record or one of another endpoint
  /// @param rates  as for JudgeClient: each call to the provider counts as a request
  BatchClient(const config::EndpointConfig& endpoint, std::filesystem::path folder, BatchPolicy policy = {},
              RateRegistry* rates = nullptr);
  ~BatchClient();
  BatchClient(const BatchClient&) = delete;
  BatchClient& operator=(const BatchClient&) = delete;

  /// Whether this run or an earlier one has added the request and its batch is not acknowledged: it must not be asked again.
  [[nodiscard]] bool has(const std::string& id) const;
  /// Requests for which has() is true.
  [[nodiscard]] std::size_t pending() const;
  /// Put a request into the next file. Neither full() nor has() may be true. @param body  as for JudgeClient::submit()
  /// @throws DataError, see batch_line()
  void add(const std::string& id, std::string_view body);
  /// Whether a whole file waits to be uploaded, or batches_max is reached: nothing can be added until that changes.
  [[nodiscard]] bool full() const;
  /// Send the added requests although their file is not full.
  void close_file();
  /// Make at most one call to the provider, when one is due, and wait for its end.
  /// @return the collected batches: each once in a process, and again in a later process until it is acknowledged
  /// @throws IoError if a record cannot be written; then no batch was created
  std::vector<BatchResults> step(std::chrono::milliseconds wait);
  /// The results are stored: forget the batch.
  void acknowledge(const std::string& batch);

  /// Why nothing more is sent (`status` and `detail`): the key, the quota, the certificate, an outage, or a refusal that a
  /// repetition would not change.
  [[nodiscard]] const std::optional<JudgeReply>& stopped() const;
  [[nodiscard]] std::vector<BatchProgress> progress() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace dmoerm::judge
