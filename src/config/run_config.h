// Every setting of a run, with its default, unit and reason. Read from YAML by yaml_reader, printed by `dmoerm inspect config`.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "config/cluster_config.h"
#include "config/label_config.h"

namespace dmoerm::config {

/// Where the pretrained backbone comes from and how texts are laid out for it.
struct BackboneConfig {
  std::string dir;                       ///< Hugging Face directory: config.json, safetensors, tokenizer.json
  std::string chat_template = "dmoerm";  ///< chatml, llama3, mistral, plain, dmoerm, or a file of launch/pin_chat_template.py
  std::int64_t layers = 0;               ///< use only the first n decoder or encoder layers; 0 = all
};

/// Where and how the arithmetic runs. Part of a task's hash: other values may round differently.
struct ComputeConfig {
  std::string device = "auto";             ///< auto, cpu, cuda
  std::string dtype = "float32";           ///< of the backbone's weights, states and products: float32, bfloat16
  std::int64_t threads = 1;                ///< threads of a rank; sums may round differently with another number
  std::int64_t trunk_cache_mb = 4096;      ///< memory of a rank for the states below the adapted layers; not part of the result
  std::int64_t micro_batch_tokens = 1024;  ///< tokens of one forward pass; bounds memory, and fixes the order of sums
  double peak_tflops = 0;  ///< of one rank's device, for the utilisation shown; 0 = measured on a CPU, known for common GPUs
};

/// One input file.
struct InputConfig {
  std::string path;           ///< JSONL, plain, .gz or .zst
  std::string form = "auto";  ///< auto, or the name of a form that `dmoerm ingest --forms` lists
  std::string category;       ///< category of all rows; "" = the row's own
  std::string split;          ///< train, validation or test for all rows; "" = the row's own, else by hash of the prompt
  double weight = 1.0;        ///< of the file's train groups, > 0: below 1 the share to take, above 1 how often a pass takes each
};

struct DataConfig {
  std::vector<InputConfig> inputs;
  std::int64_t max_length = 1024;            ///< tokens of prompt + response; longer groups lose the start of the prompt
  std::int64_t min_prompt_tokens = 32;       ///< of a cut prompt; a response that leaves less room loses its end
  std::int64_t bad_lines_max = 0;            ///< tolerated unreadable lines over all files
  std::int64_t responses_per_group_max = 0;  ///< thin larger groups by a seeded draw; 0 = keep all
  std::int64_t groups_per_category_max = 0;  ///< of the train split, by a seeded draw; 0 = keep all
  double validation_share = 0.1;             ///< of prompts without a split of their own
  double test_share = 0.1;
  bool special_tokens_in_text = false;  ///< true: "<|im_end|>" written in a text becomes the special token
};

/// One category of tasks and its capability points.
struct CategoryConfig {
  std::string name;
  std::vector<std::string> points;           ///< capability points; one expert each
  double clear_margin = 0.0;                 ///< a score gap below this is no preference; 0 = any gap counts
  std::int64_t responses_per_group_max = 0;  ///< 0 = as data.responses_per_group_max says
  std::int64_t groups_max = 0;               ///< of the train split; 0 = as data.groups_per_category_max says
};

/// AdamW and its schedule, early stopping, checkpoints: the same keys for every phase.
struct TrainConfig {
  std::string trains = "all";  ///< all = every weight of the backbone; lora = an adapter
  double lr = 1e-5;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0.0;
  double clip_norm = 1.0;             ///< of the whole gradient; 0 = off
  std::string schedule = "constant";  ///< constant, linear, cosine: after the warm-up, down to zero at steps_max
  std::int64_t warmup_steps = 0;
  double epochs_max = 1.0;           ///< passes over the groups
  std::int64_t steps_max = 0;        ///< 0 = as epochs_max says
  std::int64_t groups_per_step = 8;  ///< global batch
  std::int64_t eval_every_steps = 100;
  std::int64_t patience = 20;  ///< evaluations in a row that neither raise the accuracy nor lower the loss before stopping
  std::int64_t eval_groups_max = 200;  ///< validation groups of one evaluation, a fixed seeded draw; 0 = all
  double reward_centring = 0.0;        ///< weight of mean(reward^2) in the loss; 0 = off
  double checkpoint_every_s = 60.0;    ///< seconds between checkpoints; does not change the result
  std::int64_t checkpoints_kept = 2;   ///< last n, beside the best weights that each holds; does not change the result
  bool shard = false;            ///< optimizer state and gradients over the group's ranks (ZeRO stage 2), where trains = all
  bool recompute = false;        ///< keep layer inputs only and compute the rest again in the backward pass
  std::int64_t lora_layers = 0;  ///< adapt the top n layers only; 0 = all
  std::int64_t lora_rank = 32;
  double lora_alpha = 32.0;
  double lora_dropout = 0.05;
};

struct RouterConfig {
  double lr = 1e-2;
  std::int64_t steps_max = 400;
  double weight_decay = 1e-3;
  double confidence_min = 0.5;   ///< below: the model of all categories scores instead
  std::string pooling = "mean";  ///< of the base states of the prompt: mean, last
};

struct AggregatorConfig {
  std::string kind = "best";  ///< mlp, linear, or best = mean, unless one is clearly better on groups held out of its fit
  double lr = 1e-4;
  double weight_decay = 1e-2;
  double clip_norm = 1.0;
  std::int64_t steps_max = 2000;
  std::int64_t groups_per_step = 16;
  std::int64_t eval_every_steps = 5;
  std::int64_t patience = 20;
};

struct ExpertsConfig {
  TrainConfig train{.trains = "lora"};  ///< only lora: the experts of a category share one frozen base
  std::int64_t fuse = 1;                ///< experts of one category stepped together over one base; they fail together
  std::int64_t labels_min = 8;          ///< a point with fewer ordered pairs in the groups of phase 1 is refused
};

/// Everything of one run.
struct RunConfig {
  std::string name = "run";  ///< the run's directory is <runs_dir>/<name>
  std::string runs_dir = "runs";
  std::uint64_t seed = 17;
  std::string log_level = "info";
  double base_share = 0.6;  ///< of the train groups, for phase 1; the rest trains the aggregator
  BackboneConfig backbone;
  ComputeConfig compute;
  DataConfig data;
  std::vector<CategoryConfig> categories;
  LabelsConfig labels;  ///< capability labels from LLM judges
  RouterConfig router;
  TrainConfig base;             ///< phase 1, and the baselines
  ExpertsConfig experts;        ///< phase 2
  AggregatorConfig aggregator;  ///< phase 3
  ClusterConfig cluster;
  SlurmConfig slurm;
  WatchConfig watch;
  bool baselines = true;  ///< train the single model and one per category on all train groups beside it
};

/// Settings as they hold after defaults and overrides, in one canonical YAML text (keys in declaration order).
std::string to_yaml(const RunConfig& config);

/// Read a YAML file, apply `overrides` ("train.lr=1e-5" style paths, as given to --set), check every value's range.
/// Relative paths inside the file (backbone.dir, data.inputs[].path) are taken relative to the file's directory; `${NAME}` and
/// `${NAME:-default}` in string values are replaced from the environment.
/// @throws ConfigError with all problems at once, one a line: file:line:column: key: what is wrong, nearest right key
RunConfig read_run_config(const std::string& path, const std::vector<std::string>& overrides);

/// read_run_config() of a text; `file` is the name used in messages and `directory` the base of relative paths.
RunConfig parse_run_config(const std::string& text, const std::string& file, const std::string& directory,
                           const std::vector<std::string>& overrides);

/// The dotted keys whose values differ, one a line with both values: "base.lr: 1e-05 before, 2e-05 now", `a` being the earlier
/// configuration; "" if they are equal. Says what differs when a run directory was made with another configuration.
std::string difference(const RunConfig& a, const RunConfig& b);

/// Markdown reference of every key: type, default, range, meaning.
std::string reference();

}  // namespace dmoerm::config
