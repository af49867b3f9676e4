// What the budget reserves for questions that are asked, and how that grows with what servers say of tokens and costs.
#pragma once
#include <cstdint>
#include <span>
#include <unordered_map>

#include "judge/judge.h"
#include "judge/judge_reply.h"
#include "judge/usage.h"
#include "label/asked_question.h"
#include "label/budget.h"
#include "label/judge_watch.h"

namespace dmoerm::label {

/// What is reserved for a question and its repeated tries.
judge::Usage reserved_for(const Asked& asked);

/// Set the most that a question can cost to what is known now. @return what must be reserved in addition
judge::Usage raise_cost(Asked& asked, const judge::Judge& judge);

/// Reserve what it can cost to send a question once more: a request, and after a try that may have been charged as much again.
/// @return false, with nothing reserved, if a limit or what is known of the judge forbids it
bool reserve_again(Asked& asked, bool charged, JudgeWatch& replies, Budget& budget);

/// Learn from what the server says of the tokens and the cost of a reply. @return whether questions of this judge may cost more
/// than was known
bool learn_counts(const Asked& asked, const judge::JudgeReply& reply, judge::Judge& judge, JudgeWatch& replies);

/// About what the requests of online judges can cost that no label counts yet: those on the network (questions that still wait to
/// be sent are among those in progress, too), earlier tries of open questions, and answers that are not stored.
judge::Usage most_in_flight(const std::unordered_map<std::uint64_t, Asked>& in_progress, std::span<const Asked> answered,
                            std::span<const judge::Judge> judges);

}  // namespace dmoerm::label
