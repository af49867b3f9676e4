#include "label/reservations.h"

#include <algorithm>

namespace dmoerm::label {

judge::Usage reserved_for(const Asked& asked) {
  judge::Usage reserved = asked.max_cost;
  for (int i = 0; i < asked.repeated; ++i) reserved += asked.max_cost;
  reserved.requests += asked.resent;
  return reserved;
}

judge::Usage raise_cost(Asked& asked, const judge::Judge& judge) {
  const judge::Usage before = reserved_for(asked);
  asked.max_cost = judge.max_cost(asked.built);
  judge::Usage more = reserved_for(asked);
  more -= before;
  return more;
}

bool reserve_again(Asked& asked, bool charged, JudgeWatch& replies, Budget& budget) {
  if (charged && !replies.may_repeat()) return false;
  asked.out_of_budget = !budget.reserve(charged ? asked.max_cost : judge::Usage{1, 0, 0, 0});
  if (asked.out_of_budget) return false;
  if (charged) replies.sent();
  ++(charged ? asked.repeated : asked.resent);
  return true;
}

bool learn_counts(const Asked& asked, const judge::JudgeReply& reply, judge::Judge& judge, JudgeWatch& replies) {
  if (!judge.learn_counts(asked.built, reply)) return false;
  const std::int64_t estimate = asked.built.prompt_tokens, allowed = judge.answer_forms.front().answer_tokens_max();
  if (reply.prompt_tokens > estimate) replies.exceeded_estimate(reply.prompt_tokens, estimate);
  if (reply.completion_tokens > allowed) replies.exceeded(reply.completion_tokens, allowed);
  if (judge.price_ratio_seen > 1) replies.exceeded_prices(judge.price_ratio_seen);
  return true;
}

judge::Usage most_in_flight(const std::unordered_map<std::uint64_t, Asked>& in_progress, std::span<const Asked> answered,
                            std::span<const judge::Judge> judges) {
  const auto sent = static_cast<std::int64_t>(judge::answers_in_flight(judges));
  judge::Usage most, earlier;
  for (const auto& [ticket, asked] : in_progress) {
    if (!judges[asked.slot.judge].backend->answers_soon()) continue;
    most += asked.max_cost;
    for (int i = 0; i < asked.repeated; ++i) earlier += asked.max_cost;
    earlier.requests += asked.resent;
  }
  const std::int64_t all = std::max<std::int64_t>({sent, most.requests, 1});
  for (std::int64_t* number : {&most.prompt_tokens, &most.completion_tokens, &most.cost_micros}) *number = *number * sent / all;
  most.requests = sent;
  most += earlier;
  for (const Asked& asked : answered) most += asked.max_cost;
  return most;
}

}  // namespace dmoerm::label
