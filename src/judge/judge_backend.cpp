#include "judge/judge_backend.h"

#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <utility>

namespace dmoerm::judge {
namespace {

using std::chrono::milliseconds;

class OnlineBackend : public JudgeBackend {
 public:
  OnlineBackend(const std::vector<config::EndpointConfig>& endpoints, const RetryPolicy& policy, RateRegistry* rates)
      : client_(endpoints, policy, rates) {}
  [[nodiscard]] bool under_way(const Digest&) const override { return false; }
  void discard(const Digest&) override {}
  [[nodiscard]] bool full() const override { return client_.full(); }
  void submit(std::uint64_t ticket, const Digest&, std::string body, std::int32_t tokens) override {
    client_.submit(ticket, std::move(body), tokens);
  }
  void flush() override {}
  void send(std::size_t in_flight_max) override { client_.send(in_flight_max); }
  std::vector<JudgeReply> poll(milliseconds wait) override { return client_.poll(wait); }
  void acknowledge() override {}
  [[nodiscard]] std::size_t pending() const override { return client_.pending(); }
  [[nodiscard]] std::size_t in_flight() const override { return client_.in_flight(); }
  [[nodiscard]] bool answers_soon() const override { return true; }
  [[nodiscard]] std::size_t pending_from_earlier_runs() const override { return 0; }
  void ask_before_repeating(std::function<bool(std::uint64_t, bool)> may_repeat) override {
    client_.ask_before_repeating(std::move(may_repeat));
  }
  void stop_submitting() override { client_.stop_submitting(); }
  [[nodiscard]] ClientStats stats() const override { return client_.stats(); }

 private:
  JudgeClient client_;
};

class BatchBackend : public JudgeBackend {
 public:
  BatchBackend(const config::EndpointConfig& endpoint, const std::filesystem::path& folder, const BatchPolicy& policy,
               RateRegistry* rates)
      : client_(endpoint, folder, policy, rates), pending_from_earlier_runs_(client_.pending()) {}

  [[nodiscard]] bool under_way(const Digest& key) const override {
    return client_.has(to_hex(key)) || early_.contains(to_hex(key));
  }
  void discard(const Digest& key) override {
    if (!take_early(to_hex(key))) stored_.insert(to_hex(key));
  }
  [[nodiscard]] bool full() const override { return client_.full(); }

  void submit(std::uint64_t ticket, const Digest& key, std::string body, std::int32_t) override {
    const std::string id = to_hex(key);
    if (auto early = take_early(id)) {
      early->ticket = ticket;
      due_.push_back(std::move(*early));
      return;
    }
    tickets_[id] = ticket;
    if (!client_.has(id)) client_.add(id, body);
  }

  void flush() override { client_.close_file(); }
  void send(std::size_t) override {}

  std::vector<JudgeReply> poll(milliseconds wait) override {
    std::vector<JudgeReply> replies = std::exchange(due_, {});
    if (stopped_) return replies;
    for (BatchResults& results : client_.step(replies.empty() ? wait : milliseconds(0))) {
      std::size_t& unwanted = early_replies_[results.batch];
      for (BatchReply& reply : results.replies) {
        if (stored_.erase(reply.id) > 0) continue;
        const auto asked = tickets_.find(reply.id);
        const bool nothing = reply.reply.status == JudgeReply::cancelled && reply.reply.billed_tries == 0;
        if (asked == tickets_.end() && nothing) continue;  // this run asks it as if nobody had
        if (asked == tickets_.end()) {                     // an earlier run asked; this one may submit the question later
          early_[reply.id] = {std::move(reply.reply), results.batch};
          ++unwanted;
          continue;
        }
        reply.reply.ticket = asked->second;
        replies.push_back(std::move(reply.reply));
        tickets_.erase(asked);
      }
    }
    if (const auto& why = client_.stopped(); why && !tickets_.empty()) {
      JudgeReply end = *why;
      end.ticket = tickets_.begin()->second;
      tickets_.erase(tickets_.begin());
      replies.push_back(std::move(end));
    }
    return replies;
  }

  /// A batch with replies to questions that were not submitted in this run is kept, so that a later run can collect them.
  void acknowledge() override {
    if (!due_.empty()) return;
    std::erase_if(early_replies_, [&](const auto& batch) {
      if (batch.second > 0) return false;
      client_.acknowledge(batch.first);
      return true;
    });
  }

  [[nodiscard]] std::size_t pending() const override { return due_.size() + (client_.stopped() ? 0 : tickets_.size()); }
  [[nodiscard]] std::size_t in_flight() const override {
    std::size_t sum = 0;
    for (const BatchProgress& batch : client_.progress())
      sum += batch.provider_id.empty() ? 0 : static_cast<std::size_t>(batch.total);
    return sum;
  }
  [[nodiscard]] bool answers_soon() const override { return false; }
  [[nodiscard]] std::size_t pending_from_earlier_runs() const override { return pending_from_earlier_runs_; }
  void ask_before_repeating(std::function<bool(std::uint64_t, bool)>) override {}  // a batch client never repeats
  void stop_submitting() override { stopped_ = true; }

  [[nodiscard]] ClientStats stats() const override {
    ClientStats stats;
    for (const BatchProgress& batch : client_.progress()) {
      stats.answered += batch.completed;
      stats.failed += batch.failed;
    }
    return stats;
  }

 private:
  struct Early {
    JudgeReply reply;
    std::string batch;
  };

  std::optional<JudgeReply> take_early(const std::string& id) {
    const auto found = early_.find(id);
    if (found == early_.end()) return std::nullopt;
    --early_replies_[found->second.batch];
    JudgeReply reply = std::move(found->second.reply);
    early_.erase(found);
    return reply;
  }

  BatchClient client_;
  std::size_t pending_from_earlier_runs_;
  std::unordered_map<std::string, std::uint64_t> tickets_;      ///< Questions without a reply, by id
  std::unordered_map<std::string, Early> early_;                ///< Replies to questions that this run has not submitted yet
  std::unordered_map<std::string, std::size_t> early_replies_;  ///< Collected, unacknowledged batch -> its replies in early_
  std::unordered_set<std::string> stored_;  ///< Questions under way whose answer is stored: a run was killed before acknowledge()
  std::vector<JudgeReply> due_;
  bool stopped_ = false;
};

}  // namespace

std::unique_ptr<JudgeBackend> online_backend(const std::vector<config::EndpointConfig>& endpoints, const RetryPolicy& policy,
                                             RateRegistry* rates) {
  return std::make_unique<OnlineBackend>(endpoints, policy, rates);
}
std::unique_ptr<JudgeBackend> batch_backend(const config::EndpointConfig& endpoint, const std::filesystem::path& folder,
                                            const BatchPolicy& policy, RateRegistry* rates) {
  return std::make_unique<BatchBackend>(endpoint, folder, policy, rates);
}

}  // namespace dmoerm::judge
