#include "label/asker.h"

#include <unordered_map>
#include <unordered_set>
#include <utility>

namespace dmoerm::label {
namespace {

using std::chrono::milliseconds;

class OnlineAsker : public Asker {
 public:
  explicit OnlineAsker(std::vector<Endpoint> endpoints) : client_(std::move(endpoints)) {}
  [[nodiscard]] bool under_way(const Digest&) const override { return false; }
  void answered(const Digest&) override {}
  [[nodiscard]] bool full() const override { return client_.full(); }
  void submit(std::uint64_t ticket, const Digest&, std::string body, std::int32_t tokens) override {
    client_.submit(ticket, std::move(body), tokens);
  }
  void flush() override {}
  std::vector<JudgeReply> poll(milliseconds wait) override { return client_.poll(wait); }
  void acknowledge() override {}
  [[nodiscard]] std::size_t pending() const override { return client_.pending(); }
  [[nodiscard]] std::size_t in_flight() const override { return client_.in_flight(); }
  void stop_submitting() override { client_.stop_submitting(); }
  [[nodiscard]] ClientStats stats() const override { return client_.stats(); }

 private:
  JudgeClient client_;
};

class BatchAsker : public Asker {
 public:
  BatchAsker(const Endpoint& endpoint, const std::filesystem::path& folder, const BatchPolicy& policy)
      : client_(endpoint, folder, policy) {}

  [[nodiscard]] bool under_way(const Digest& key) const override { return client_.has(to_hex(key)); }
  void answered(const Digest& key) override {
    if (early_.erase(to_hex(key)) == 0) stored_.insert(to_hex(key));
  }
  [[nodiscard]] bool full() const override { return client_.full(); }

  void submit(std::uint64_t ticket, const Digest& key, std::string body, std::int32_t) override {
    const std::string id = to_hex(key);
    if (const auto early = early_.find(id); early != early_.end()) {
      early->second.ticket = ticket;
      due_.push_back(std::move(early->second));
      early_.erase(early);
      return;
    }
    tickets_[id] = ticket;
    if (!client_.has(id)) client_.add(id, body);
  }

  void flush() override { client_.close_file(); }

  std::vector<JudgeReply> poll(milliseconds wait) override {
    std::vector<JudgeReply> replies = std::exchange(due_, {});
    if (stopped_) return replies;
    for (BatchResults& results : client_.step(replies.empty() ? wait : milliseconds(0))) {
      unstored_.push_back(results.batch);
      for (BatchReply& reply : results.replies) {
        if (stored_.erase(reply.id) > 0) continue;
        const auto asked = tickets_.find(reply.id);
        if (asked == tickets_.end()) {  // asked by an earlier run; the question comes later in this one, or not at all
          early_[reply.id] = std::move(reply.reply);
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

  /// A batch with a reply that nobody has asked for yet is kept: what was paid for is collected again by a run that asks for it.
  void acknowledge() override {
    if (unstored_.empty() || !early_.empty() || !due_.empty()) return;
    for (const std::string& batch : unstored_) client_.acknowledge(batch);
    unstored_.clear();
  }

  [[nodiscard]] std::size_t pending() const override { return due_.size(); }
  [[nodiscard]] std::size_t in_flight() const override { return tickets_.size(); }
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
  BatchClient client_;
  std::unordered_map<std::string, std::uint64_t> tickets_;  ///< questions without a reply, by id
  std::unordered_map<std::string, JudgeReply> early_;       ///< replies to questions that were not asked in this run yet
  std::unordered_set<std::string>
      stored_;  ///< questions under way whose answers are stored: killed before the batch was acknowledged
  std::vector<JudgeReply> due_;
  std::vector<std::string> unstored_;  ///< batches whose replies were given but are not known to be stored
  bool stopped_ = false;
};

}  // namespace

std::unique_ptr<Asker> ask_online(std::vector<Endpoint> endpoints) { return std::make_unique<OnlineAsker>(std::move(endpoints)); }
std::unique_ptr<Asker> ask_in_batches(const Endpoint& endpoint, const std::filesystem::path& folder, const BatchPolicy& policy) {
  return std::make_unique<BatchAsker>(endpoint, folder, policy);
}

}  // namespace dmoerm::label
