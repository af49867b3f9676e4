#include "judge/judge.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace dmoerm::judge {
namespace {

namespace fs = std::filesystem;

/// A number times a factor, rounded up.
std::int64_t times(std::int64_t number, double factor) {
  return static_cast<std::int64_t>(std::ceil(static_cast<double>(number) * factor - 1e-6));
}

double ratio(std::int64_t number, std::int64_t to) {
  return static_cast<double>(number) / static_cast<double>(std::max<std::int64_t>(1, to));
}

constexpr double kTokenizerRatioMax = 2;  // a larger one comes from texts that somebody adds, whatever the length of the prompt

fs::path template_file(const config::LabelsConfig& config, const fs::path& folder) {
  if (!config.prompt_file.empty()) return config.prompt_file;
  const fs::path file = folder / (config.prompt + ".yaml");
  if (fs::exists(file)) return file;
  std::string known;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().stem().string();
    if (name.starts_with("points-") || entry.path().extension() != ".yaml") continue;
    known += (known.empty() ? "" : ", ") + name;
  }
  throw ConfigError(
      "unknown-judge-template",
      fmt::format("labels.prompt: {1} has no template \"{0}\" (it has: {2}); name a file of your own in labels.prompt_file",
                  config.prompt, folder.string(), known));
}

std::vector<AnswerForm> answer_forms_of(const config::JudgeConfig& judge) {
  if (judge.answer == config::AnswerMode::verdict_line) return {AnswerForm::verdict_line};
  if (judge.answer == config::AnswerMode::json_schema || judge.api == config::JudgeApi::batch)
    return {AnswerForm::json_schema};  // a batch has one form
  return {AnswerForm::json_schema, AnswerForm::verdict_line};
}

}  // namespace

std::int64_t Judge::cost_micros(std::int64_t prompt_tokens, std::int64_t completion_tokens) const {
  // Prices are per million tokens, so tokens times price are millionths.
  const double cost =
      static_cast<double>(prompt_tokens) * config.price_prompt + static_cast<double>(completion_tokens) * config.price_completion;
  return static_cast<std::int64_t>(std::ceil(cost * price_share - 1e-9));
}

Usage Judge::estimated_cost(const BuiltQuestion& question) const {
  const std::int64_t answer = answer_forms.front().answer_tokens_max();
  return {1, question.prompt_tokens, answer, cost_micros(question.prompt_tokens, answer)};
}

std::int64_t Judge::answer_cost_micros(std::int64_t prompt_tokens, std::int64_t completion_tokens,
                                       const JudgeReply& reply) const {
  const std::int64_t by_prices = cost_micros(prompt_tokens, completion_tokens);
  return in_dollars ? std::max(by_prices, reply.charged_micros) : by_prices;
}

Usage Judge::max_cost(const BuiltQuestion& question) const {
  // A tokenizer that is poor at the language counts a multiple, a gateway with a prompt of its own some tokens more.
  const std::int64_t multiple = times(question.prompt_tokens, prompt_ratio_seen);
  const std::int64_t prompt = std::max(multiple, question.prompt_tokens + prompt_excess_seen);
  const std::int64_t answer = std::max(answer_forms.front().answer_tokens_max(), answer_tokens_seen);
  return {1, prompt, answer, times(cost_micros(prompt, answer), price_ratio_seen)};
}

bool Judge::learn_counts(const BuiltQuestion& question, const JudgeReply& reply) {
  const Usage before = max_cost(question);
  if (reply.prompt_tokens > before.prompt_tokens) {
    prompt_ratio_seen =
        std::max(prompt_ratio_seen, std::min(ratio(reply.prompt_tokens, question.prompt_tokens), kTokenizerRatioMax));
    prompt_excess_seen = std::max(prompt_excess_seen, reply.prompt_tokens - question.prompt_tokens);
  }
  if (reply.completion_tokens > before.completion_tokens) answer_tokens_seen = reply.completion_tokens;
  const bool counted = reply.prompt_tokens >= 0 && reply.completion_tokens >= 0;
  const std::int64_t by_prices = counted ? cost_micros(reply.prompt_tokens, reply.completion_tokens) : 0;
  const bool dearer = in_dollars && by_prices > 0 && reply.charged_micros > by_prices + 1;  // both are rounded up
  if (dearer) price_ratio_seen = std::max(price_ratio_seen, ratio(reply.charged_micros, by_prices));
  return max_cost(question) != before;
}

std::vector<Judge> make_judges(const config::LabelsConfig& config, const fs::path& folder,
                               const std::function<TokenCounter(const std::string&)>& counter_of) {
  const JudgeTemplate judge_template = JudgeTemplate::load(template_file(config, folder));
  const PointCriteria criteria =
      PointCriteria::load(config.points_file.empty() ? folder / fmt::format("points-{}.yaml", judge_template.language())
                                                     : fs::path(config.points_file));
  std::vector<Judge> judges;
  for (const config::JudgeConfig& c : config.judges) {
    Judge judge;
    judge.config = c;
    judge.in_dollars = config.currency == "USD";
    ContextRule rule;
    rule.context_tokens = c.context_tokens;
    rule.too_long = config.too_long == config::TooLong::skip ? ContextRule::TooLong::skip : ContextRule::TooLong::truncate;
    if (!c.tokenizer.empty()) rule.count_tokens = counter_of(c.tokenizer);
    for (const AnswerForm form : answer_forms_of(c)) judge.answer_forms.emplace_back(judge_template, criteria, c, form, rule);
    judge.answer_form_known = judge.answer_forms.size() == 1;
    if (c.api == config::JudgeApi::batch) judge.price_share = config.batch_price_share;
    judges.push_back(std::move(judge));
  }
  return judges;
}

RetryPolicy retry_policy_of(const config::JudgeConfig& judge) {
  RetryPolicy retry;
  retry.tries_max = static_cast<int>(judge.tries_max);
  retry.backoff_base_s = judge.backoff_s;
  retry.backoff_cap_s = std::max(judge.backoff_s, judge.backoff_max_s);
  return retry;
}

void connect(std::vector<Judge>& judges, const fs::path& batches, const BatchPolicy& policy) {
  RateRegistry rates;  // judges at one address with one key share its rates
  for (Judge& judge : judges) {
    const std::vector<config::EndpointConfig>& endpoints = judge.config.endpoints;
    if (judge.config.api == config::JudgeApi::online) {
      judge.backend = online_backend(endpoints, retry_policy_of(judge.config), &rates);
    } else {
      judge.backend =
          batch_backend(endpoints.front(), batches / sha256_hex(judge.config.model + "\n" + endpoints.front().url).substr(0, 16),
                        policy, &rates);
    }
  }
}

std::size_t pending_online(std::span<const Judge> judges) {
  std::size_t sum = 0;
  for (const Judge& judge : judges) sum += judge.config.api == config::JudgeApi::online ? judge.backend->pending() : 0;
  return sum;
}

std::size_t answers_in_flight(std::span<const Judge> judges) {
  std::size_t sum = 0;
  for (const Judge& judge : judges) sum += judge.backend->answers_soon() ? judge.backend->in_flight() : 0;
  return sum;
}

}  // namespace dmoerm::judge
