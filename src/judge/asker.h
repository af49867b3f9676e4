// Who takes a judge's questions and brings its replies: the judge itself, or the provider's batches. The labeller sees no
// difference.
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

class Asker {
 public:
  virtual ~Asker() = default;
  /// Whether the question has been under way since an earlier run: submit() then only waits for its reply, which is paid for.
  [[nodiscard]] virtual bool under_way(const Digest& key) const = 0;
  /// A question that is under way has its answer stored already: its reply is not wanted.
  virtual void answered(const Digest& key) = 0;
  [[nodiscard]] virtual bool full() const = 0;
  /// Take a question. Look at full() first. @param key  names its body for ever  @param tokens  most that it can take
  virtual void submit(std::uint64_t ticket, const Digest& key, std::string body, std::int32_t tokens) = 0;
  /// No more questions come for now: send what was taken.
  virtual void flush() = 0;
  /// @return replies by ticket, as JudgeClient::poll()
  virtual std::vector<JudgeReply> poll(std::chrono::milliseconds wait) = 0;
  /// All replies that poll() gave are stored.
  virtual void acknowledge() = 0;
  /// Questions without a reply.
  [[nodiscard]] virtual std::size_t pending() const = 0;
  /// Of them, those that the judge or provider has.
  [[nodiscard]] virtual std::size_t in_flight() const = 0;
  /// Whether replies come within seconds, so that the end of everything waits for them.
  [[nodiscard]] virtual bool prompt() const = 0;
  /// Questions that were under way before any was submitted here.
  [[nodiscard]] virtual std::size_t left_over() const = 0;
  /// Asked before a question is repeated whose last try may have been paid.
  virtual void ask_before_repeating(std::function<bool(std::uint64_t ticket)> may_repeat) = 0;
  virtual void stop_submitting() = 0;
  [[nodiscard]] virtual ClientStats stats() const = 0;
};

/// Online, at one or several endpoints.
std::unique_ptr<Asker> ask_online(std::vector<Endpoint> endpoints);
/// Through the batch API of one endpoint. @param folder  where it remembers which requests are in which batch
std::unique_ptr<Asker> ask_in_batches(const Endpoint& endpoint, const std::filesystem::path& folder, const BatchPolicy& policy);

}  // namespace dmoerm::judge
