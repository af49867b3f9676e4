// Settings of labelling by LLM judges: who is asked, what, about which pairs, and for how much money.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace dmoerm::config {

/// One server of a judge and where the key for it is.
struct EndpointConfig {
  std::string url;                 ///< base address, e.g. https://host/v1; "/chat/completions" is added
  std::string key_env;             ///< environment variable with the API key
  std::string key_file;            ///< or a file of mode 0600 with it; both empty: none is sent
  double requests_per_minute = 0;  ///< 0 = as the server's headers say, else no limit
  double tokens_per_minute = 0;    ///< likewise
  std::int64_t concurrency_max = 64;
  std::string ca_file;  ///< certificates to trust instead of the system's
  double connect_timeout_s = 10;
  double request_timeout_s = 120;  ///< of one try
};

/// One model that is asked, and what it costs.
struct JudgeConfig {
  std::string model;
  std::vector<EndpointConfig> endpoints;
  double weight = 1;  ///< of its votes, where several judges are asked
  std::string via = "online";
  std::string answer = "auto";
  bool probabilities = false;  ///< read the verdict's probability from the token log-probabilities
  double temperature = 0;
  double top_p = 1;        ///< 1 = not sent
  std::int64_t seed = -1;  ///< of the server's draw; sample n is sent seed + n; -1 = not sent
  std::int64_t max_tokens = 64;
  std::int64_t context_tokens = 8192;
  std::string tokenizer;    ///< directory with the judge's tokenizer.json, to count with; empty: an estimate
  double price_prompt = 0;  ///< per million tokens
  double price_completion = 0;
  std::string extra;  ///< JSON object merged into every request
};

/// Which pairs of a group are asked about.
struct PairChoiceConfig {
  std::string choose = "all";
  std::int64_t per_group = 4;
  std::int64_t pairs_max = 0;  ///< over all groups of a point; 0 = no limit
  std::string bundle;          ///< for `uncertain`: the model whose experts say where they are unsure
};

/// Hard limits over everything the label store has ever paid, what is in flight included. 0 = none.
struct BudgetConfig {
  double cost_max = 0;
  std::int64_t requests_max = 0;
  std::int64_t tokens_max = 0;
};

struct LabelsConfig {
  std::vector<JudgeConfig> judges;  ///< empty: labels come from the data
  std::string store;                ///< directory of the label store; empty: `runs_dir`/labels, shared by all runs there
  std::string prompt = "pairwise-en";
  std::string prompt_file;
  std::string points_file;
  std::vector<std::string> splits = {"train", "validation"};
  std::int64_t samples = 1;
  PairChoiceConfig pairs;
  std::string too_long = "truncate";
  std::string vote = "majority";
  bool soft = false;
  bool retry_errors = true;
  std::string currency = "USD";
  double batch_discount = 0.5;
  BudgetConfig budget;
};

}  // namespace dmoerm::config
