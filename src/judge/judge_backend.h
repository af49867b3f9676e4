// Takes a judge's questions and returns its replies: online or through the provider's batch API. The labeller sees no difference.
#pragma once
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/hash.h"
#include "judge/batch_client.h"
#include "judge/judge_client.h"

namespace dmoerm::judge {

class JudgeBackend {
 public:
  virtual ~JudgeBackend() = default;
  /// Whether an earlier run has sent the question: submit() then only waits for its reply, which is paid for.
  [[nodiscard]] virtual bool under_way(const Digest& key) const = 0;
  /// Drop the reply to a question that is under way: its answer is stored already.
  virtual void discard(const Digest& key) = 0;
  [[nodiscard]] virtual bool full() const = 0;
  /// Take a question. The backend must not be full(). @param key  names its body for ever  @param tokens  most that it can use
  virtual void submit(std::uint64_t ticket, const Digest& key, std::string body, std::int32_t tokens) = 0;
  /// No more questions come for now: send those that were taken.
  virtual void flush() = 0;
  /// As JudgeClient::send(). Batches are not limited.
  virtual void send(std::size_t in_flight_max) = 0;
  /// @return replies by ticket, as JudgeClient::poll()
  virtual std::vector<JudgeReply> poll(std::chrono::milliseconds wait) = 0;
  /// All replies that poll() returned are stored.
  virtual void acknowledge() = 0;
  /// Questions without a reply.
  [[nodiscard]] virtual std::size_t pending() const = 0;
  /// Pending questions that the judge or provider has received.
  [[nodiscard]] virtual std::size_t in_flight() const = 0;
  /// Whether replies come within seconds, so that a run that ends waits for them.
  [[nodiscard]] virtual bool answers_soon() const = 0;
  /// Questions that were under way before this run submitted any.
  [[nodiscard]] virtual std::size_t pending_from_earlier_runs() const = 0;
  /// As JudgeClient::ask_before_repeating().
  virtual void ask_before_repeating(std::function<bool(std::uint64_t ticket, bool charged)> may_repeat) = 0;
  virtual void stop_submitting() = 0;
  [[nodiscard]] virtual ClientStats stats() const = 0;
};

/// Asks online, at one or several endpoints. @param rates  as for JudgeClient
std::unique_ptr<JudgeBackend> online_backend(const std::vector<config::EndpointConfig>& endpoints, const RetryPolicy& policy = {},
                                             RateRegistry* rates = nullptr);
/// Asks through the batch API of one endpoint. @param folder  folder for the records of which requests are in which batch
std::unique_ptr<JudgeBackend> batch_backend(const config::EndpointConfig& endpoint, const std::filesystem::path& folder,
                                            const BatchPolicy& policy, RateRegistry* rates = nullptr);

}  // namespace dmoerm::judge
