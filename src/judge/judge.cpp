#include "judge/judge.h"

#include <fmt/format.h>

#include <cmath>

#include "base/error.h"

namespace dmoerm::judge {
namespace {

namespace fs = std::filesystem;

constexpr int kTopLogprobs = 20;

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
      fmt::format("labels.prompt: no template \"{}\" in {} (there are: {}); a file of your own goes into labels.prompt_file",
                  config.prompt, folder.string(), known));
}

/// Most tokens of an answer: what is reserved in the context and in the budget. Newer models take the limit under another name.
std::int64_t answer_limit(const config::JudgeConfig& judge, const nlohmann::json& extra) {
  std::int64_t limit = judge.max_tokens;  // 0: none
  for (const char* name : {"max_tokens", "max_completion_tokens", "max_output_tokens"}) {
    const auto found = extra.find(name);
    if (found == extra.end()) continue;
    if (found->is_null()) {
      limit = 0;
    } else if (found->is_number_unsigned()) {
      limit = found->get<std::int64_t>();
    }
  }
  if (limit > 0) return limit;
  throw ConfigError(fmt::format(
      "labels.judges {}: extra takes max_tokens away: give the answer another limit, e.g. \"max_completion_tokens\": {}, or "
      "nothing bounds what it can cost",
      judge.model, judge.max_tokens));
}

std::vector<AnswerForm> forms_of(const config::JudgeConfig& judge) {
  if (judge.answer == config::AnswerMode::verdict_line) return {AnswerForm::verdict_line};
  if (judge.answer == config::AnswerMode::json_schema || judge.api == config::JudgeApi::batch)
    return {AnswerForm::json_schema};  // a batch cannot be asked twice
  return {AnswerForm::json_schema, AnswerForm::verdict_line};
}

}  // namespace

std::int64_t Judge::cost_micros(std::int64_t prompt_tokens, std::int64_t completion_tokens) const {
  // A price is of a million tokens: tokens times it are millionths.
  const double cost =
      static_cast<double>(prompt_tokens) * config.price_prompt + static_cast<double>(completion_tokens) * config.price_completion;
  return static_cast<std::int64_t>(std::ceil(cost * price_share - 1e-9));
}

Usage Judge::most(const BuiltQuestion& question) const {
  const std::int64_t answer = forms.front().parameters().max_tokens;
  return {1, question.prompt_tokens, answer, cost_micros(question.prompt_tokens, answer)};
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
    ContextRule rule;
    rule.context_tokens = c.context_tokens;
    rule.too_long = config.too_long == config::TooLong::skip ? ContextRule::TooLong::skip : ContextRule::TooLong::truncate;
    if (!c.tokenizer.empty()) rule.count_tokens = counter_of(c.tokenizer);
    for (const AnswerForm form : forms_of(c)) {
      JudgeParameters parameters;
      parameters.model = c.model;
      parameters.temperature = c.temperature;
      parameters.max_tokens = c.max_tokens;
      parameters.form = form;
      parameters.top_logprobs = c.probabilities ? kTopLogprobs : 0;
      if (c.seed >= 0) parameters.seed = c.seed;
      if (c.top_p < 1) parameters.top_p = c.top_p;
      if (!c.extra.empty()) parameters.extra = nlohmann::json::parse(c.extra);
      parameters.max_tokens = answer_limit(c, parameters.extra);
      judge.forms.emplace_back(judge_template, criteria, parameters, rule);
    }
    judge.form_known = judge.forms.size() == 1;
    if (c.api == config::JudgeApi::batch) judge.price_share = config.batch_discount;
    judges.push_back(std::move(judge));
  }
  return judges;
}

void connect(std::vector<Judge>& judges, const fs::path& batches, const BatchPolicy& policy) {
  for (Judge& judge : judges) {
    std::vector<Endpoint> endpoints;
    for (const config::EndpointConfig& e : judge.config.endpoints) {
      endpoints.push_back({e.url, e.key_env, e.key_file, e.requests_per_minute, e.tokens_per_minute,
                           static_cast<int>(e.concurrency_max), e.ca_file, e.connect_timeout_s, e.request_timeout_s});
    }
    if (judge.config.api == config::JudgeApi::online) {
      judge.asker = ask_online(std::move(endpoints));
    } else {
      judge.asker = ask_in_batches(endpoints.front(),
                                   batches / sha256_hex(judge.config.model + "\n" + endpoints.front().url).substr(0, 16), policy);
    }
  }
}

}  // namespace dmoerm::judge
