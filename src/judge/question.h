// Turns two responses of a group into the bytes that a judge is sent. Pure: equal input gives equal bytes for ever, because a
// label is stored under the hash of these bytes, and an unknown hash is asked and paid for.
#pragma once
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/label_config.h"
#include "judge/context_rule.h"
#include "judge/judge_template.h"
#include "judge/point_criteria.h"
#include "judge/question_id.h"
#include "preference/pair_digest.h"

namespace dmoerm::judge {

/// One question to one judge: a pair of responses, one capability point, one order.
struct Question : QuestionId {
  std::string body;  ///< Exactly what is sent: the canonical JSON of the chat completion request, without credentials
};

/// Two responses of a group, in the data's order.
struct PairToAsk {
  std::string_view id;  ///< Id of the group, for messages
  const std::vector<preference::Message>& prompt;
  std::string_view a, b;
};

struct BuiltQuestion {
  Question question;
  std::int64_t prompt_tokens = 0;  ///< Tokens by the rule's count, including 8 for the markup of each message
  bool conversation_cut = false, a_cut = false, b_cut = false;  ///< Whether the text was cut to fit the judge's context
  [[nodiscard]] bool cut() const { return conversation_cut || a_cut || b_cut; }
};

/// SHA-256 of the body; for samples after the first, of body + "#" + number.
Digest question_key(const std::string& body, std::int32_t sample);

class QuestionBuilder {
 public:
  /// @param judge  model and request parameters; its `extra` is laid over the request as a JSON merge patch
  /// @throws ConfigError for parameters out of range, an `extra` that leaves the answer's length unlimited, or a template and
  /// criteria in different languages
  QuestionBuilder(JudgeTemplate judge_template, PointCriteria criteria, config::JudgeConfig judge, AnswerForm answer_form,
                  ContextRule rule = {});

  /// The question whether a or b is better at a capability point.
  /// @param swapped  whether b is shown first
  /// @param sample   number of this repetition, from 0
  /// @return nothing if the texts are too long for the judge and the rule is to skip
  /// @throws DataError naming the group if a text is blank or not UTF-8. @throws ConfigError for an unknown category or point, or
  /// a context that is too small
  [[nodiscard]] std::optional<BuiltQuestion> build(const PairToAsk& pair, const std::string& category, const std::string& point,
                                                   bool swapped, std::int32_t sample = 0) const;

  [[nodiscard]] const JudgeTemplate& judge_template() const { return template_; }
  [[nodiscard]] const PointCriteria& criteria() const { return criteria_; }
  [[nodiscard]] AnswerForm answer_form() const { return answer_form_; }
  /// Most tokens of an answer: they are reserved in the context and in the budget.
  [[nodiscard]] std::int64_t answer_tokens_max() const { return answer_tokens_max_; }

 private:
  [[nodiscard]] std::string body(const std::vector<preference::Message>& messages, std::int32_t sample) const;

  JudgeTemplate template_;
  PointCriteria criteria_;
  config::JudgeConfig judge_;
  AnswerForm answer_form_;
  ContextRule rule_;
  nlohmann::json extra_;            ///< JudgeConfig::extra, parsed
  nlohmann::json response_format_;  ///< Null: none
  std::int64_t answer_tokens_max_;
};

}  // namespace dmoerm::judge
