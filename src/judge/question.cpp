#include "judge/question.h"

#include <fmt/format.h>

#include <array>
#include <limits>
#include <utility>

#include "base/error.h"
#include "base/text.h"
#include "base/utf8.h"

namespace dmoerm::judge {
namespace {

using nlohmann::json;

constexpr std::int64_t kMessageMarkup = 8;  // most tokens that a chat template puts around a message
constexpr int kTopLogprobs = 20;            // most that the API allows
constexpr std::size_t kTagDigits = 12;

/// Offset of the first byte that is not UTF-8, or npos.
std::size_t bad_byte(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t length = utf8_length(text, i);
    if (length == 0) return i;
    i += length;
  }
  return std::string_view::npos;
}

void check_text(std::string_view text, std::string_view id, const std::string& what) {
  if (const std::size_t at = bad_byte(text); at != std::string_view::npos) {
    throw DataError("text-not-utf8",
                    fmt::format("group {}: {} is not UTF-8: byte {} is 0x{:02x}; convert the data, or leave the group out", id,
                                what, at, static_cast<unsigned char>(text[at])));
  }
}

void check_pair(const PairToAsk& pair) {
  bool any = false;
  for (std::size_t i = 0; i < pair.prompt.size(); ++i) {
    check_text(pair.prompt[i].role, pair.id, fmt::format("the role of message {} of the prompt", i));
    check_text(pair.prompt[i].content, pair.id, fmt::format("message {} of the prompt", i));
    any = any || !is_blank(pair.prompt[i].content);
  }
  if (!any)
    throw DataError(
        "prompt-blank",
        fmt::format("group {}: the prompt is blank, so its responses cannot be judged; leave the group out", pair.id));
  for (const auto& [text, what] : {std::pair(pair.a, "response a"), std::pair(pair.b, "response b")}) {
    check_text(text, pair.id, what);
    if (is_blank(text))
      throw DataError("response-blank",
                      fmt::format("group {}: {} is blank and cannot be judged; leave the response out", pair.id, what));
  }
}

void check_parameters(const config::JudgeConfig& judge, const json& extra) {
  const auto require = [](bool holds, const char* name, const std::string& value, const char* range) {
    if (!holds) throw ConfigError("judge-setting-range", fmt::format("judge: {} is {}: it must be {}", name, value, range));
  };
  require(!judge.model.empty() && is_utf8(judge.model), "model", '"' + judge.model + '"', "a name in UTF-8");
  require(judge.temperature >= 0 && judge.temperature <= 2, "temperature", fmt::to_string(judge.temperature), "between 0 and 2");
  require(judge.max_tokens >= 1, "max_tokens", fmt::to_string(judge.max_tokens), "at least 1");
  require(judge.top_p > 0 && judge.top_p <= 1, "top_p", fmt::to_string(judge.top_p), "above 0 and at most 1");
  require(judge.seed <= std::numeric_limits<std::int64_t>::max() - std::numeric_limits<std::int32_t>::max(), "seed", "too large",
          "below 2^63 - 2^31");
  require(extra.is_object(), "extra", judge.extra, "a JSON object of request parameters, in UTF-8");
  for (const char* key : {"model", "messages", "n", "stream"}) {
    if (extra.contains(key))
      throw ConfigError("judge-extra-reserved",
                        fmt::format("judge: extra.{} cannot be set: the labeller sets it itself; remove it", key));
  }
}

/// Most tokens of an answer. Newer models take the limit under another name, which `extra` gives.
std::int64_t answer_limit(const config::JudgeConfig& judge, const json& extra) {
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
  throw ConfigError(
      "judge-answer-unlimited",
      fmt::format("labels.judges {}: extra removes max_tokens, so an answer could cost any amount: give it another limit, e.g. "
                  "\"max_completion_tokens\": {}",
                  judge.model, judge.max_tokens));
}

json verdict_format(bool ties) {
  json words = {"1", "2"};
  if (ties) words.push_back("tie");
  const json schema = {{"type", "object"},
                       {"properties", {{"verdict", {{"type", "string"}, {"enum", std::move(words)}}}}},
                       {"required", json::array({"verdict"})},
                       {"additionalProperties", false}};
  return {{"type", "json_schema"}, {"json_schema", {{"name", "verdict"}, {"strict", true}, {"schema", schema}}}};
}

/// Hex digits that occur in none of the texts, so that no text can close its own block.
std::string free_tag(Digest digest, const PairToAsk& pair) {
  for (;; digest = sha256(to_hex(digest))) {
    const std::string tag = to_hex(digest).substr(0, kTagDigits);
    bool used = pair.a.find(tag) != std::string_view::npos || pair.b.find(tag) != std::string_view::npos;
    for (const preference::Message& message : pair.prompt)
      used = used || message.content.find(tag) != std::string::npos || message.role.find(tag) != std::string::npos;
    if (!used) return tag;
  }
}

}  // namespace

Digest question_key(const std::string& body, std::int32_t sample) {
  return sha256(sample == 0 ? body : fmt::format("{}#{}", body, sample));
}

QuestionBuilder::QuestionBuilder(JudgeTemplate judge_template, PointCriteria criteria, config::JudgeConfig judge,
                                 AnswerForm answer_form, ContextRule rule)
    : template_(std::move(judge_template)),
      criteria_(std::move(criteria)),
      judge_(std::move(judge)),
      answer_form_(answer_form),
      rule_(std::move(rule)),
      extra_(judge_.extra.empty() ? json::object() : json::parse(judge_.extra, nullptr, false)) {
  check_parameters(judge_, extra_);
  answer_tokens_max_ = answer_limit(judge_, extra_);
  if (template_.language() != criteria_.language()) {
    throw ConfigError("judge-languages-differ",
                      fmt::format("judge: template {} is in language {}, the points are in {}: name two files of one language",
                                  template_.name(), template_.language(), criteria_.language()));
  }
  if (answer_form_ == AnswerForm::json_schema) response_format_ = verdict_format(template_.ties());
}

std::string QuestionBuilder::body(const std::vector<preference::Message>& messages, std::int32_t sample) const {
  json request = {{"model", judge_.model},
                  {"max_tokens", answer_tokens_max_},
                  {"messages", json::array()},
                  {"temperature", judge_.temperature}};
  for (const preference::Message& message : messages)
    request["messages"].push_back({{"role", message.role}, {"content", message.content}});
  if (judge_.top_p < 1) request["top_p"] = judge_.top_p;
  if (judge_.seed >= 0) request["seed"] = judge_.seed + sample;  // equal seeds would give equal answers
  if (judge_.probabilities) {
    request["logprobs"] = true;
    request["top_logprobs"] = kTopLogprobs;
  }
  if (!response_format_.is_null()) request["response_format"] = response_format_;
  request.merge_patch(extra_);
  return request.dump();
}

std::optional<BuiltQuestion> QuestionBuilder::build(const PairToAsk& pair, const std::string& category, const std::string& point,
                                                    bool swapped, std::int32_t sample) const {
  const std::string& criterion = criteria_.find(category, point);
  check_pair(pair);
  BuiltQuestion built;
  Question& question = built.question;
  question.category = category;
  question.point = point;
  question.judge = judge_.model;
  question.template_name = template_.id();
  question.pair = preference::pair_digest(pair.prompt, pair.a, pair.b);
  question.swapped = swapped;
  question.sample = sample;

  const std::string tag = free_tag(question.pair, pair);
  FieldValues values;
  const auto set = [&](Field field, std::string_view value) { values[static_cast<std::size_t>(field)] = value; };
  set(Field::category, category);
  set(Field::point, point);
  set(Field::criterion, criterion);
  set(Field::tag, tag);
  std::int64_t fixed = response_format_.is_null() ? 0 : rule_.count_tokens(response_format_.dump());
  for (const preference::Message& message : template_.render(values, answer_form_))
    fixed += kMessageMarkup + rule_.count_tokens(message.content);

  std::vector<Turn> turns;
  for (const preference::Message& message : pair.prompt)
    turns.push_back({fmt::format("[{} {}]", template_.heading(message.role), tag), message.content});
  const std::optional<Fitted> fitted = fit_texts(rule_, turns, pair.a, pair.b, rule_.context_tokens - answer_tokens_max_ - fixed,
                                                 template_.conversation_mark(), template_.response_mark());
  if (!fitted) return std::nullopt;
  built.prompt_tokens = fixed + fitted->tokens;
  built.conversation_cut = fitted->conversation_cut;
  built.a_cut = fitted->a_cut;
  built.b_cut = fitted->b_cut;

  set(Field::conversation, fitted->conversation);
  set(Field::response_1, swapped ? fitted->b : fitted->a);
  set(Field::response_2, swapped ? fitted->a : fitted->b);
  question.body = body(template_.render(values, answer_form_), sample);
  question.key = question_key(question.body, sample);
  return built;
}

}  // namespace dmoerm::judge
