// Watches what the replies of one judge are good for, so that a judge that gives no verdicts is not paid for long: a reply
// without a verdict costs as much as one with it.
#pragma once
#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <vector>

#include "config/label_config.h"
#include "judge/judge_reply.h"
#include "label/model_notice.h"
#include "label/recent_share.h"
#include "label/vote.h"
#include "label_store/label.h"

namespace dmoerm::label {

/// What a reply is good for. All but `verdict` are of no use.
enum class ReplyUse : std::uint8_t {
  verdict,
  cut,         ///< It was cut off at max_tokens before a verdict
  empty,       ///< It has no text
  unreadable,  ///< Its text has no verdict in a form that is read
  refused,     ///< The judge, or a filter of its server, declined to answer
  error        ///< There was no reply that can be used
};

/// Pairs by what the verdicts of their two orders say together.
struct PairCounts {
  std::int64_t good = 0, bad = 0;                  ///< Pairs with a verdict in both orders, and others
  std::int64_t first_twice = 0, second_twice = 0;  ///< Pairs whose verdict was the same place in both orders
  std::int64_t believed = 0, unsettled = 0;        ///< Pairs with a believed verdict, and those where it changed with the order
  void add(const Ballot& ballot);
  PairCounts& operator+=(const PairCounts& more);
  PairCounts& operator-=(const PairCounts& fewer);
};

class JudgeWatch {
 public:
  static constexpr std::int64_t kProbe = 32;   ///< Replies that a judge may be paid for before it has shown that it is of use
  static constexpr std::int64_t kKnown = 4;    ///< Stored replies without use after which one more shows that nothing has changed
  static constexpr std::int64_t kStreak = 8;   ///< Replies without use after which requests in flight are limited again
  static constexpr std::int64_t kAtOnce = 16;  ///< Requests in flight, all of which may turn out useless, of an unproven judge
  static constexpr std::int64_t kUsefulOfEach = 16;         ///< Useful replies that allow one more request in flight
  static constexpr std::size_t kWindow = 128;               ///< Latest replies that count for the share of useless ones
  static constexpr std::int64_t kPairsProbe = kProbe / 2;   ///< Pairs in both orders that are as many replies
  static constexpr std::size_t kPairsWindow = kWindow / 2;  ///< Latest pairs that count for the share of undecided ones
  static constexpr std::int64_t kFormProbe = 64;            ///< Pairs in both orders that show how many of them have no verdict
  static constexpr std::size_t kFormWindow = 256;           ///< Latest pairs that count for that
  static constexpr std::int64_t kFormRecalled = 48;         ///< Stored pairs in both orders that show it, if one has a verdict
  static constexpr std::int64_t kPairsAtEnd = 5;            ///< Pairs that show a judge without use at the end of a small run

  /// @param useless_max  `labels.useless_max`
  /// @param soft  whether pairs train whose verdict changed with the order (`labels.soft`)
  JudgeWatch(const config::JudgeConfig& judge, double useless_max, bool soft = false);

  /// Go on with a further labelling of the same run. The judge need not show again that it is of use, and useless replies since
  /// its last useful one count on; was_in_vain() looks at the questions of the new labelling alone.
  void go_on();
  /// One of the judge's latest stored replies, before anything is asked; the oldest comes first.
  void recall(preference::Verdict verdict);
  /// Names of models that answered earlier labellings of the run for this judge.
  void served_before(const std::vector<std::string>& models) { served_.before = models; }
  /// Names of models that the server says have answered since.
  [[nodiscard]] const std::vector<std::string>& models() const { return served_.models; }
  /// The judge's address or settings have changed since the stored replies, so that one more of no use says little.
  void changed() { known_probe_ = kStreak; }
  /// Whether most of the latest stored replies are of no use, and no reply of another kind has come.
  [[nodiscard]] bool known_useless() const;
  /// Whether most stored pairs, or all of a few, have no verdict in both orders, because it was cut off or cannot be read.
  [[nodiscard]] bool known_open() const;
  /// One of the latest pairs with stored replies in both orders, before anything is asked.
  void recall_pair(const Ballot& ballot);
  /// One of the latest pairs with stored replies in both orders, of more pairs than recall_pair() is told of.
  void recall_form(const Ballot& ballot);
  /// A question has a stored answer and is not asked.
  void met(preference::Verdict verdict);
  /// A pair has stored answers in both orders.
  void met_pair(const Ballot& ballot) { met_pairs_.add(ballot); }

  /// Whether one more request may be queued. Requests without a reply count as if their replies were of no use.
  [[nodiscard]] bool may_send() const;
  /// Whether a try that may have been paid for in vain may be repeated.
  [[nodiscard]] bool may_repeat() const { return paid_ < kProbe ? may_send() : !hopeless(); }
  /// Most requests that may be on the network at once, at least 1: few until many replies were useful, so that a judge that turns
  /// bad is paid for at most kProbe useless replies, or for as many as a sixteenth of the useful ones; fewer the more of the
  /// latest replies are of no use.
  [[nodiscard]] std::size_t in_flight_max() const;
  void sent() { ++in_flight_; }
  /// Requests ended without being paid for.
  void returned(int requests) { in_flight_ -= requests; }
  /// A question is answered. @param requests  tries that were sent for it  @param paid  tries that count as paid, at least 1
  void take(const judge::JudgeReply& reply, const label_store::Label& label, int requests, int paid);
  /// The server counted more tokens in an answer than the request allowed.
  void exceeded(std::int64_t tokens, std::int64_t allowed);
  /// The server counted more tokens in a prompt than the estimate.
  void exceeded_estimate(std::int64_t tokens, std::int64_t estimate);
  /// The server states costs that are up to `ratio` times those by the configured prices.
  void exceeded_prices(double ratio) { price_ratio_ = ratio; }
  /// Both orders of a pair are answered.
  void pair(const Ballot& ballot);

  /// Whether asking goes on in vain: enough replies have come, and at least the share `useless_max` of them is of no use; or
  /// as many as kProbe in a row are; or as many pairs got another verdict in the other order, or none was decided; or too many of
  /// the latest pairs were left open by replies that were cut off, empty or unreadable. `useless_max`
  /// 1 lets undecided pairs pass.
  [[nodiscard]] bool hopeless() const;
  /// The same once all questions are answered, however few they are, with stored answers counted.
  [[nodiscard]] bool was_in_vain() const;
  /// Why, with an example and the setting to change: one line for the user.
  [[nodiscard]] std::string why() const;
  /// "model: 400 replies, 380 with a verdict, 20 (5.0 %) without: 20 cut off at max_tokens ..." with an example of a useless one
  /// and, if they are many, the setting to change; "" if all have verdicts.
  [[nodiscard]] std::string summary() const;
  /// Whether some reply since go_on() has no verdict.
  [[nodiscard]] bool some_useless() const { return replies() - useful_ > earlier_.replies - earlier_.useful; }

  /// A sentence about a setting that has no effect on this server, about what the server leaves out, or about tries that are paid
  /// for in vain, once it is clear.
  /// @param last  whether no more replies come. @return "" if there is nothing to say, or it was said
  std::string notice(bool last);

  [[nodiscard]] std::int64_t of(ReplyUse use) const { return uses_[static_cast<std::size_t>(use)]; }
  [[nodiscard]] std::int64_t replies() const;

 private:
  [[nodiscard]] bool mostly_useless(std::int64_t useful, std::int64_t all) const;
  /// Whether most stored pairs got another verdict in the other order.
  [[nodiscard]] bool known_undecided() const;
  /// Whether most of the latest pairs have no verdict in both orders, because it was cut off or cannot be read. A setting of the
  /// judge cures that, so they are not all paid for; refusals and errors are another matter.
  [[nodiscard]] bool mostly_open() const;
  /// Whether most of the latest replies are of no use.
  [[nodiscard]] bool window_useless() const;
  /// Whether the latest pairs show that the judge decides hardly any.
  [[nodiscard]] bool undecided() const;
  /// The judge's address of which at least `count` replies came and most are of no use, unlike those of another; "" if none is
  /// so.
  [[nodiscard]] std::string bad_address(std::int64_t count) const;
  /// Useful replies among `all` that show that a judge is of use.
  [[nodiscard]] std::int64_t enough(std::int64_t all) const;
  /// Requests without a reply that are allowed once replies are doubted; a large number before.
  [[nodiscard]] std::int64_t left_in_doubt() const;
  [[nodiscard]] std::string counts() const;
  /// "16 of 64 pairs".
  [[nodiscard]] std::string open_text() const;
  /// ", and 16 of 64 replies are of no use: ..." with the last of them.
  [[nodiscard]] std::string useless_text() const;
  [[nodiscard]] std::string advice() const;

  config::JudgeConfig judge_;
  double useless_max_;
  bool watches_pairs_;  ///< Whether pairs without a believed verdict are of no use, and not all of them shall be paid for
  std::array<std::int64_t, 6> uses_{};            ///< Answered questions by ReplyUse
  std::map<std::string, std::int64_t> finishes_;  ///< Replies without a verdict, by finish_reason
  std::int64_t useful_ = 0, paid_ = 0;            ///< Useful replies, and all paid tries
  std::deque<bool> window_;                       ///< Whether each of the latest paid tries was useful
  std::int64_t window_useful_ = 0, in_flight_ = 0;
  std::int64_t streak_ = 0;                      ///< Latest paid tries in a row without use
  RecentShare recent_;                           ///< Whether each of the latest paid tries was useless
  RecentShare recent_pairs_;                     ///< Whether the verdict of each of the latest pairs changed with the order
  std::array<std::int64_t, 6> recalled_uses_{};  ///< Stored replies by verdict
  std::int64_t recalled_useful_ = 0, recalled_ = 0, met_useful_ = 0, met_ = 0;
  std::int64_t known_probe_ = 1;    ///< Replies without use after which stored ones of no use are believed
  bool otherwise_useless_ = false;  ///< Whether a reply was useless in another way than the stored ones
  PairCounts asked_pairs_, met_pairs_;
  /// Of asked questions, what was counted before go_on().
  struct {
    std::int64_t replies = 0, useful = 0;
    PairCounts pairs;
  } earlier_;
  std::deque<preference::SwapOutcome> pairs_;  ///< Outcomes of the latest pairs with a verdict in both orders
  std::deque<bool> open_pairs_;  ///< Whether each of the latest pairs has no verdict that can be read in both orders
  std::int64_t open_ = 0;        ///< Those that have none
  std::int64_t recalled_open_ = 0, recalled_forms_ = 0, recalled_closed_ = 0;
  std::int64_t recalled_pairs_ = 0, recalled_unsettled_ = 0;  ///< Stored pairs, and those whose verdict changed with the order
  std::int64_t with_probability_ = 0, answered_ = 0, without_usage_ = 0;
  std::int64_t too_many_tokens_ = 0;  ///< Those of without_usage_ that state more tokens than there can be
  /// Replies of one of several addresses.
  struct Address {
    std::int64_t replies = 0, useful = 0;
    std::string example;  ///< Latest useless reply
  };
  std::map<std::string, Address> addresses_;
  std::int64_t longest_ = 0, allowed_ = 0;   ///< Tokens of the longest answer beyond the limit, and the limit
  std::int64_t counted_ = 0, estimate_ = 0;  ///< Tokens of the prompt that is furthest beyond its estimate, and the estimate
  double price_ratio_ = 1;                   ///< Largest cost that the server states, as a multiple of that by the prices
  std::int64_t failed_ = 0;       ///< Tries that failed at the server without a charge and whose question was answered later
  std::int64_t repeated_ = 0;     ///< Tries that may have been paid for and whose question was asked again
  std::string repeated_problem_;  ///< What was wrong with the last of them
  ServedModels served_;
  std::string odd_cost_;  ///< What the server stated as a cost and cannot be one
  std::string example_;   ///< Latest useless reply
  bool probabilities_said_ = false, usage_said_ = false, repeated_said_ = false, longest_said_ = false, estimate_said_ = false,
       prices_said_ = false, cost_said_ = false;
};

/// What a reply is good for, by its label.
ReplyUse use_of(const judge::JudgeReply& reply, preference::Verdict verdict);

}  // namespace dmoerm::label
