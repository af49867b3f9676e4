#include "label/reply_label.h"

#include <chrono>

#include "judge/verdict_parser.h"

namespace dmoerm::label {
namespace {

std::int64_t now_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace

judge::Usage cost_of(const judge::Judge& judge, const judge::BuiltQuestion& question, const judge::JudgeReply& reply) {
  const judge::Usage most = judge.most(question);
  const bool answered = reply.status == judge::JudgeReply::ok || reply.status == judge::JudgeReply::refused;
  judge::Usage used{1, 0, 0, 0};
  if (answered) {
    used.prompt_tokens = reply.prompt_tokens >= 0 ? reply.prompt_tokens : most.prompt_tokens;
    used.completion_tokens = reply.completion_tokens >= 0 ? reply.completion_tokens : judge::estimate_tokens(reply.text);
  }
  used.prompt_tokens += reply.billed_tries * most.prompt_tokens;
  used.completion_tokens += reply.billed_tries * most.completion_tokens;
  used.cost_micros = judge.cost_micros(used.prompt_tokens, used.completion_tokens);
  return used;
}

label_store::Label label_of(const judge::Judge& judge, const judge::Question& question, std::size_t form,
                            const judge::JudgeReply& reply, const judge::Usage& used) {
  const judge::QuestionBuilder& builder = judge.forms[form];
  label_store::Label label;
  label.key = question.key, label.pair = question.pair;
  label.category = question.category, label.point = question.point;
  label.judge = question.judge, label.template_name = question.template_name;
  label.swapped = question.swapped, label.sample = question.sample;
  if (reply.status == judge::JudgeReply::ok) {
    label.verdict = judge::parse_verdict(reply.text, builder.parameters().form, builder.judge_template().ties());
    // A reply that was cut off at max_tokens may end in a line that it only quotes.
    const bool cut_off = reply.finish_reason == "length" && builder.parameters().form == judge::AnswerForm::verdict_line;
    if (cut_off) label.verdict = preference::Verdict::unparsable;
    label.reply = reply.text;
    if (judge.config.probabilities) {
      const auto first = judge::first_probability(reply.logprobs, builder.parameters().form, builder.judge_template().ties());
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

bool refuses_form(const judge::JudgeReply& reply) {
  const auto says = [&](std::string_view word) { return reply.detail.find(word) != std::string::npos; };
  return reply.status == judge::JudgeReply::error && (says("answered 400") || says("answered 422") || says("answered 501")) &&
         (says("response_format") || says("schema") || says("guided") || says("grammar") || says("structured"));
}

}  // namespace dmoerm::label
