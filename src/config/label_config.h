// Settings of labelling by LLM judges, with their types and defaults: who is asked, what, about which pairs, at what cost.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "config/words.h"

namespace dmoerm::config {

/// One server of a judge and where its API key is found.
struct EndpointConfig {
  std::string url;
  std::string key_env;
  std::string key_file;
  double requests_per_minute = 0;
  double tokens_per_minute = 0;
  std::int64_t concurrency_max = 64;
  std::string ca_file;
  double connect_timeout_s = 10;
  double request_timeout_s = 120;
};

/// One model that is asked, and what it costs.
struct JudgeConfig {
  std::string model;
  std::vector<EndpointConfig> endpoints;
  double weight = 1;
  JudgeApi api = JudgeApi::online;
  AnswerMode answer = AnswerMode::automatic;
  bool probabilities = false;
  double temperature = 0;
  double top_p = 1;
  std::int64_t seed = -1;
  std::int64_t max_tokens = 64;
  std::int64_t context_tokens = 8192;
  std::string tokenizer;
  double price_prompt = 0;
  double price_completion = 0;
  std::int64_t tries_max = 6;
  double backoff_s = 0.5;
  double backoff_max_s = 60;
  std::string extra;
};

/// Which pairs of a group are asked about.
struct PairChoiceConfig {
  PairChoice choose = PairChoice::all;
  std::int64_t per_group = 4;
  std::int64_t pairs_max = 0;
  std::string bundle;
};

/// Hard limits over everything that the label store has ever paid for.
struct BudgetConfig {
  double cost_max = 0;
  std::int64_t requests_max = 0;
  std::int64_t tokens_max = 0;
};

/// Capability labels from LLM judges.
struct LabelsConfig {
  std::vector<JudgeConfig> judges;
  std::string store;
  std::string prompt = "pairwise-en";
  std::string prompt_file;
  std::string points_file;
  std::vector<Split> splits = {Split::train, Split::validation};
  std::int64_t samples = 1;
  PairChoiceConfig pairs;
  std::int64_t rounds = 1;
  TooLong too_long = TooLong::truncate;
  Vote vote = Vote::majority;
  bool soft = false;
  bool retry_errors = true;
  double useless_max = 0.8;
  std::string currency = "USD";
  double batch_price_share = 0.5;
  BudgetConfig budget;
};

}  // namespace dmoerm::config
