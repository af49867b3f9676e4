#include "label/reply_label.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <string_view>

#include "base/text.h"
#include "judge/chat_reply.h"
#include "judge/context_rule.h"
#include "judge/verdict_parser.h"

namespace dmoerm::label {
namespace {

constexpr std::int64_t kEstimateShare = 8;  // a server cannot have counted fewer tokens than an eighth of the estimate
constexpr std::string_view kFinishMark = "[finish_reason: ";

std::int64_t now_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

/// Tokens of an answer whose server did not count them. One that was cut off, or has no text, may have all that were allowed.
std::int64_t uncounted_answer(const judge::JudgeReply& reply, std::int64_t most) {
  const bool unseen = is_blank(reply.text) || judge::is_cut_off(reply.finish_reason);
  return reply.status == judge::JudgeReply::ok && unseen ? most : judge::estimate_tokens(reply.text);
}

}  // namespace

void forget_impossible_counts(judge::JudgeReply& reply, const judge::BuiltQuestion& question) {
  const auto forget = [](std::int32_t& counted, std::int64_t estimate) {
    if (counted * kEstimateShare < estimate) counted = -1;
  };
  forget(reply.prompt_tokens, question.prompt_tokens);
  forget(reply.completion_tokens, judge::estimate_tokens(reply.text));
}

judge::Usage cost_of(const judge::Judge& judge, const judge::BuiltQuestion& question, const judge::JudgeReply& reply) {
  const judge::Usage max_cost = judge.max_cost(question);
  const bool answered = reply.status == judge::JudgeReply::ok || reply.status == judge::JudgeReply::refused;
  judge::Usage used{std::max(1, reply.tries - reply.throttled_tries), 0, 0, 0};
  if (answered) {
    used.prompt_tokens = reply.prompt_tokens >= 0 ? reply.prompt_tokens : max_cost.prompt_tokens;
    used.completion_tokens =
        reply.completion_tokens >= 0 ? reply.completion_tokens : uncounted_answer(reply, max_cost.completion_tokens);
  }
  if (answered) used.cost_micros = judge.answer_cost_micros(used.prompt_tokens, used.completion_tokens, reply);
  used.prompt_tokens += reply.billed_tries * max_cost.prompt_tokens;
  used.completion_tokens += reply.billed_tries * max_cost.completion_tokens;
  used.cost_micros += reply.billed_tries * max_cost.cost_micros;
  return used;
}

judge::Usage cost_without_answer(const judge::Judge& judge, const judge::BuiltQuestion& question,
                                 const judge::JudgeReply& reply) {
  const bool refuses_all = refuses_answer_form(reply) || (judge::ends_all(reply.status) && reply.http_status > 0);
  judge::Usage used = cost_of(judge, question, reply);
  used.requests = std::max(0, reply.tries - reply.throttled_tries - (refuses_all ? 1 : 0));
  return used;
}

label_store::Label label_of(const judge::Judge& judge, const judge::Question& question, std::size_t answer_form,
                            const judge::JudgeReply& reply, const judge::Usage& used) {
  const judge::QuestionBuilder& builder = judge.answer_forms[answer_form];
  label_store::Label label;
  static_cast<judge::QuestionId&>(label) = question;
  if (reply.status == judge::JudgeReply::ok) {
    const bool cut = judge::is_cut_off(reply.finish_reason);
    label.verdict = judge::parse_verdict(reply.text, builder.answer_form(), builder.judge_template().ties(), cut);
    label.reply = reply.text;
    const bool told = label.verdict == preference::Verdict::unparsable || label.verdict == preference::Verdict::refused;
    if (told && !reply.finish_reason.empty() && reply.finish_reason != "stop")
      label.reply += fmt::format("{}{}{}]", label.reply.empty() ? "" : "\n", kFinishMark, reply.finish_reason);
    if (judge.config.probabilities) {
      const auto first = judge::first_probability(reply.logprobs, builder.answer_form(), builder.judge_template().ties());
      if (first) label.first_probability = static_cast<float>(*first);
    }
  } else {
    label.verdict = reply.status == judge::JudgeReply::refused ? preference::Verdict::refused : preference::Verdict::error;
    label.reply = reply.status == judge::JudgeReply::refused && !reply.text.empty() ? reply.text : reply.detail;
  }
  label.prompt_tokens = static_cast<std::int32_t>(used.prompt_tokens);
  label.completion_tokens = static_cast<std::int32_t>(used.completion_tokens);
  label.cost_micros = used.cost_micros;
  label.time_ms = now_ms();
  return label;
}

std::vector<label_store::Label> with_earlier_tries(std::span<const label_store::Label> labels, std::span<const Asked> answered) {
  std::vector<label_store::Label> all;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    label_store::Label tried = labels[i];
    tried.verdict = preference::Verdict::error;
    tried.reply = "a try without an answer; what it may have cost is booked with the last one";
    tried.first_probability = -1;
    tried.prompt_tokens = tried.completion_tokens = 0;
    tried.cost_micros = 0;
    all.insert(all.end(), static_cast<std::size_t>(answered[i].requests - 1), tried);
    all.push_back(labels[i]);
  }
  return all;
}

std::optional<preference::Verdict> read_again(const std::vector<judge::Judge>& judges, const label_store::Label& label) {
  const auto judge = std::ranges::find(judges, label.judge, [](const judge::Judge& j) { return j.config.model; });
  if (judge == judges.end()) return std::nullopt;
  std::string_view reply = label.reply;
  bool cut = false;
  if (const std::size_t mark = reply.rfind(kFinishMark); mark != std::string_view::npos && reply.ends_with(']')) {
    const std::string_view reason = reply.substr(mark + kFinishMark.size());
    cut = judge::is_cut_off(reason.substr(0, reason.size() - 1));
    reply = reply.substr(0, mark > 0 ? mark - 1 : 0);
  }
  std::optional<preference::Verdict> found;
  for (const judge::QuestionBuilder& form : judge->answer_forms) {  // the label does not tell its form
    if (form.judge_template().id() != label.template_name) return std::nullopt;
    const auto verdict = judge::parse_verdict(reply, form.answer_form(), form.judge_template().ties(), cut);
    if (verdict > preference::Verdict::tie) continue;
    if (found && *found != verdict) return std::nullopt;
    found = verdict;
  }
  return found;
}

bool is_about_texts(const judge::JudgeReply& reply) {
  return reply.status == judge::JudgeReply::error &&
         (reply.http_status == 400 || reply.http_status == 413 || reply.http_status == 422);
}

bool refuses_answer_form(const judge::JudgeReply& reply) {
  return reply.status == judge::JudgeReply::error && reply.reason == judge::JudgeReply::Reason::response_format;
}

}  // namespace dmoerm::label
