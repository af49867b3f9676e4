// A judge of the configuration, ready to be asked: how questions to it are built, what they cost, and how replies are read.
#pragma once
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "config/label_config.h"
#include "judge/asker.h"
#include "judge/question.h"
#include "label_store/columns.h"

namespace dmoerm::judge {

/// Counts the tokens of a text; made from a judge's `tokenizer` directory.
using TokenCounter = std::function<std::int64_t(std::string_view)>;

struct Judge {
  config::JudgeConfig config;
  std::vector<QuestionBuilder> forms;  ///< the answer forms it may be asked in, the preferred first
  std::size_t form = 0;                ///< the one in use
  bool form_known = true;              ///< false: the first reply decides (`answer: auto`)
  double price_share = 1;              ///< of the online price
  std::unique_ptr<Asker> asker;        ///< empty until connect()

  /// The most that a question can cost.
  [[nodiscard]] Usage most(const BuiltQuestion& question) const;
  /// What tokens cost, in millionths of the currency, rounded up.
  [[nodiscard]] std::int64_t cost_micros(std::int64_t prompt_tokens, std::int64_t completion_tokens) const;
};

/// Judges, template and criteria of a configuration.
/// @param folder        configs/judge, where named templates and criteria lie
/// @param counter_of    makes the token counter of a tokenizer directory
/// @throws ConfigError, IoError
std::vector<Judge> make_judges(const config::LabelsConfig& config, const std::filesystem::path& folder,
                               const std::function<TokenCounter(const std::string& directory)>& counter_of);

/// Make the judges' askers. @param batches  folder for what is remembered of batches
/// @throws ConfigError for a missing key or a bad address
void connect(std::vector<Judge>& judges, const std::filesystem::path& batches, const BatchPolicy& policy = {});

}  // namespace dmoerm::judge
