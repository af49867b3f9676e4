// From two responses of a group to the bytes that a judge is sent. Pure: equal input gives equal bytes, for ever, because the
// bytes' hash is what a label is found by and paid for once.
#pragma once
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/hash.h"
#include "judge/context_rule.h"
#include "judge/judge_template.h"
#include "judge/point_criteria.h"
#include "preference/pair_digest.h"

namespace dmoerm::judge {

/// One question to one judge: a pair of responses under one capability point in one order. `key` names it for ever.
struct Question {
  std::string category, point;  ///< e.g. summarization, coherence
  std::string judge;            ///< model name as sent
  std::string template_name;    ///< of configs/judge, with the first 12 hex digits of its hash: "pairwise-en@3f9c01d2a4b7"
  Digest pair{};                ///< sha256 over prompt and both texts in the data's order: equal for both orders of a pair
  bool swapped = false;         ///< response b is shown first
  std::int32_t sample = 0;      ///< 0 .. samples - 1 of this order
  std::string body;             ///< exactly what is sent: the canonical JSON of the chat completion request, without credentials
  Digest key{};                 ///< sha256(body); with sample > 0 the sample number is hashed in too
};

/// What is asked of the server besides the messages.
struct JudgeParameters {
  std::string model;
  std::optional<double> temperature = 0;  ///< not sent if empty: some models take none
  std::int64_t max_tokens = 256;          ///< of the answer; reserved in the context
  std::optional<double> top_p;
  std::optional<std::int64_t> seed;  ///< of the server's draw; sample n is sent seed + n, as equal seeds would give equal answers
  AnswerForm form = AnswerForm::json_schema;
  int top_logprobs = 0;  ///< 1 to 20: ask for the probabilities of that many tokens at each place; 0 = do not
  /// Laid over the request as a JSON merge patch: further parameters, other values, null to leave one out, e.g.
  /// {"max_tokens": null, "max_completion_tokens": 2000}. Not model, messages, n or stream.
  nlohmann::json extra = nlohmann::json::object();
};

/// Two responses of a group, in the data's order.
struct PairToAsk {
  std::string_view id;  ///< of the group, for messages
  const std::vector<preference::Message>& prompt;
  std::string_view a, b;
};

struct BuiltQuestion {
  Question question;
  std::int64_t prompt_tokens = 0;  ///< by the rule's count, 8 for the markup of each message included
  bool conversation_cut = false, a_cut = false, b_cut = false;  ///< to fit the judge's context
};

/// sha256(body); for samples after the first, sha256(body + "#" + number).
Digest question_key(const std::string& body, std::int32_t sample);

class QuestionBuilder {
 public:
  /// @throws ConfigError for parameters out of range, or a template and criteria in different languages
  QuestionBuilder(JudgeTemplate judge_template, PointCriteria criteria, JudgeParameters parameters, ContextRule rule = {});

  /// The question whether a or b is better at a capability point.
  /// @param swapped  b is shown first
  /// @param sample   number of this repetition, from 0
  /// @return nothing if the texts are too long for the judge and the rule is to skip
  /// @throws DataError naming the group if a text is blank or not UTF-8. @throws ConfigError for an unknown category or point, or
  /// a context that is too small
  [[nodiscard]] std::optional<BuiltQuestion> build(const PairToAsk& pair, const std::string& category, const std::string& point,
                                                   bool swapped, std::int32_t sample = 0) const;

  [[nodiscard]] const JudgeTemplate& judge_template() const { return template_; }
  [[nodiscard]] const PointCriteria& criteria() const { return criteria_; }
  [[nodiscard]] const JudgeParameters& parameters() const { return parameters_; }

 private:
  [[nodiscard]] std::string body(const std::vector<preference::Message>& messages, std::int32_t sample) const;

  JudgeTemplate template_;
  PointCriteria criteria_;
  JudgeParameters parameters_;
  ContextRule rule_;
  nlohmann::json response_format_;  ///< null: none
};

}  // namespace dmoerm::judge
