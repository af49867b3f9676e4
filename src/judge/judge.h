// A judge of the configuration, ready to be asked: how questions to it are built, what they cost, and how replies are read.
#pragma once
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "config/label_config.h"
#include "judge/judge_backend.h"
#include "judge/question.h"
#include "judge/usage.h"

namespace dmoerm::judge {

/// Counts the tokens of a text; made from a judge's `tokenizer` directory.
using TokenCounter = std::function<std::int64_t(std::string_view)>;

struct Judge {
  config::JudgeConfig config;
  std::vector<QuestionBuilder>
      answer_forms;                       ///< Builders for each answer form that the judge may be asked for, the preferred first
  std::size_t answer_form = 0;            ///< Index of the one in use
  bool answer_form_known = true;          ///< False: the first reply decides (`answer: auto`)
  std::int64_t answer_tokens_seen = 0;    ///< Largest answer that the server has counted: it may not heed the limit
  double price_share = 1;                 ///< Share of the online price that is charged
  std::unique_ptr<JudgeBackend> backend;  ///< Empty until connect()

  /// The most that a question can cost, as far as is known: with the longest answer allowed, or the longest seen if that is more.
  [[nodiscard]] Usage max_cost(const BuiltQuestion& question) const;
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

}  // namespace dmoerm::judge
