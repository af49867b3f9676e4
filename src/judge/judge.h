// A judge of the configuration, ready to be asked: how questions to it are built, what they cost, and how replies are read.
#pragma once
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "config/label_config.h"
#include "judge/judge_backend.h"
#include "judge/judge_reply.h"
#include "judge/question.h"
#include "judge/usage.h"

namespace dmoerm::judge {

/// Counts the tokens of a text; made from a judge's `tokenizer` directory.
using TokenCounter = std::function<std::int64_t(std::string_view)>;

struct Judge {
  config::JudgeConfig config;
  std::vector<QuestionBuilder>
      answer_forms;                     ///< Builders for each answer form that the judge may be asked for, the preferred first
  std::size_t answer_form = 0;          ///< Index of the one in use
  bool answer_form_known = true;        ///< False: the first reply decides (`answer: auto`)
  std::int64_t answer_tokens_seen = 0;  ///< Largest answer that the server has counted: it may not heed the limit
  double prompt_ratio_seen = 1;         ///< Largest prompt that the server has counted, as a multiple of its estimate up to 2
  std::int64_t prompt_excess_seen = 0;  ///< Most tokens that it has counted in a prompt beyond the estimate
  double price_share = 1;               ///< Share of the online price that is charged
  bool in_dollars = false;              ///< Whether prices are in US dollars, as what servers say of costs is
  std::vector<std::string> served_before = {};  ///< Names of models that answered earlier labellings of the run
  double price_ratio_seen = 1;                  ///< Largest cost that the server has stated, as a multiple of that by the prices
  std::unique_ptr<JudgeBackend> backend;        ///< Empty until connect()

  /// The most that a question can cost by its estimate, with the longest answer allowed.
  [[nodiscard]] Usage estimated_cost(const BuiltQuestion& question) const;
  /// The same with what the server's counts have shown: as many more tokens in the prompt, and the longest answer seen.
  [[nodiscard]] Usage max_cost(const BuiltQuestion& question) const;
  /// The cost of an answer: by the prices, or what the server says if that is more and in the same currency.
  [[nodiscard]] std::int64_t answer_cost_micros(std::int64_t prompt_tokens, std::int64_t completion_tokens,
                                                const JudgeReply& reply) const;
  /// Learn from what the server says of the tokens and the cost of a question and its answer.
  /// @return whether max_cost() has become larger
  bool learn_counts(const BuiltQuestion& question, const JudgeReply& reply);
  /// Price of tokens in millionths of the currency, rounded up.
  [[nodiscard]] std::int64_t cost_micros(std::int64_t prompt_tokens, std::int64_t completion_tokens) const;
};

/// Make the judges of a configuration with their template and criteria.
/// @param folder      configs/judge, where named templates and criteria lie
/// @param counter_of  makes the token counter of a tokenizer directory
/// @throws ConfigError, IoError
std::vector<Judge> make_judges(const config::LabelsConfig& config, const std::filesystem::path& folder,
                               const std::function<TokenCounter(const std::string& directory)>& counter_of);

/// When a judge's questions are asked again, by its settings.
RetryPolicy retry_policy_of(const config::JudgeConfig& judge);

/// Make the judges' backends. @param batches  folder for the records of batches
/// @throws ConfigError for a missing key or a bad address
void connect(std::vector<Judge>& judges, const std::filesystem::path& batches, const BatchPolicy& policy = {});

/// Questions of online judges that have no reply yet.
std::size_t pending_online(std::span<const Judge> judges);
/// Questions of online judges that are on the network.
std::size_t answers_in_flight(std::span<const Judge> judges);

}  // namespace dmoerm::judge
