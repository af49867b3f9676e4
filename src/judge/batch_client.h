// Asks a judge through the provider's batch API (OpenAI's form): cheaper, within a day, up to 50,000 requests a file. Resumable:
// killed anywhere, no request is paid twice, and what was paid is collected.
//
//   add() -> file -> POST /files -> record on disk -> POST /batches -> GET /batches/{id} until it has ended -> GET
//   /files/{id}/content -> step() -> acknowledge()
//
// A batch whose creation may or may not have come about (a kill, a lost reply) is looked for by our own name for it before
// another one is created.
#pragma once
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "judge/judge_client.h"

namespace dmoerm::judge {

struct BatchPolicy {
  std::size_t requests_max = 50'000;         ///< of one file
  std::size_t bytes_max = 200'000'000;       ///< of one file
  int batches_max = 20;                      ///< that wait for the provider
  double poll_min_s = 10, poll_max_s = 300;  ///< between two looks at a batch; grows from one to the other
  double lookup_pause_s = 30;     ///< before the second look for a batch that is not found, after which it is created again
  double transfer_time_s = 1800;  ///< of one upload or download
  double outage_max_s = 900;      ///< without any success: stop
  double backoff_base_s = 1, backoff_cap_s = 60;
  std::size_t results_bytes_max = std::size_t{1} << 30;  ///< of one file of results, which is held in memory
  std::uint64_t seed = 0;                                ///< of the jitter; 0 = another each time
};

struct BatchReply {
  std::string id;
  JudgeReply reply;  ///< ok, refused, error, or `cancelled`: not answered and not paid, may be asked again; `ticket` is not used
};

/// All there is of one batch: one reply for each of its requests.
struct BatchResults {
  std::string batch;  ///< for acknowledge()
  std::vector<BatchReply> replies;
};

struct BatchProgress {
  std::string batch, provider_id, status;  ///< status: "uploading", "creating", or the provider's word
  std::int64_t total = 0, completed = 0, failed = 0;
};

/// Not for use by several threads, and one folder by one process.
class BatchClient {
 public:
  /// Goes on with the batches in `folder`. @throws ConfigError as JudgeClient does, IoError, DataError for a damaged record or
  /// one of another endpoint
  BatchClient(const Endpoint& endpoint, std::filesystem::path folder, BatchPolicy policy = {});
  ~BatchClient();
  BatchClient(const BatchClient&) = delete;
  BatchClient& operator=(const BatchClient&) = delete;

  /// Whether the request was added, now or by a run before, and its batch is not acknowledged: it must not be asked again.
  [[nodiscard]] bool has(const std::string& id) const;
  /// Requests of which has() is true.
  [[nodiscard]] std::size_t pending() const;
  /// Put a request into the next file. Look at full() and has() first. @param body  as for JudgeClient::submit() @throws
  /// DataError, see batch_line()
  void add(const std::string& id, std::string_view body);
  /// A whole file waits to be uploaded, or as many batches as allowed are out: add nothing until this has changed.
  [[nodiscard]] bool full() const;
  /// Send what was added though its file is not full.
  void close_file();
  /// Do what is due, one call at most, and wait for it or for the next. @return what was collected; each batch once a process,
  /// again by a later process until it is acknowledged
  /// @throws IoError if a record cannot be written: then nothing was created
  std::vector<BatchResults> step(std::chrono::milliseconds wait);
  /// The results are safe: forget the batch.
  void acknowledge(const std::string& batch);

  /// Why nothing is sent any more (`status` and `detail`): the key, the quota, the certificate, an outage, or a refusal that a
  /// repetition would not change.
  [[nodiscard]] const std::optional<JudgeReply>& stopped() const;
  [[nodiscard]] std::vector<BatchProgress> progress() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace dmoerm::judge
