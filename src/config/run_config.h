// Every setting of a run with its type and default. What a setting means, its range and what it affects: config/fields.h.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "config/cluster_config.h"
#include "config/label_config.h"
#include "config/words.h"

namespace dmoerm::config {

/// Where the pretrained backbone comes from and how texts are laid out for it.
struct BackboneConfig {
  std::string dir;
  std::string chat_template = "dmoerm";
  std::int64_t layers = 0;
};

/// Where and how the arithmetic runs.
struct ComputeConfig {
  Device device = Device::automatic;
  Dtype dtype = Dtype::float32;
  std::int64_t threads = 1;
  std::int64_t trunk_cache_mb = 4096;
  std::int64_t micro_batch_tokens = 1024;
  double peak_tflops = 0;
};

/// One input file.
struct InputConfig {
  std::string path;
  std::string format = "auto";
  std::string category;
  InputSplit split = InputSplit::own;
  double weight = 1.0;
};

/// The preference data and what is taken of it.
struct DataConfig {
  std::vector<InputConfig> inputs;
  std::int64_t max_length = 1024;
  std::int64_t min_prompt_tokens = 32;
  std::int64_t bad_lines_max = 0;
  std::int64_t responses_per_group_max = 0;
  std::int64_t groups_per_category_max = 0;
  double validation_share = 0.1;
  double test_share = 0.1;
  bool special_tokens_in_text = false;
};

/// The smallest gap between two scores that counts as a preference: one number for all labels, or one by label.
struct ScoreGap {
  ScoreGap(double all = 0) : of_all(all) {}  // a number is the usual form

  double of_all;                                             ///< Gap of every label, if by_label is empty
  std::map<std::string, double, std::less<>> by_label = {};  ///< "overall" or a capability point -> its gap

  /// Gap of one label; 0, which counts every gap, for a label that by_label does not name.
  [[nodiscard]] double of(std::string_view label) const {
    if (by_label.empty()) return of_all;
    const auto found = by_label.find(label);
    return found == by_label.end() ? 0 : found->second;
  }
};

/// An expert that another program trained.
struct ImportedExpertConfig {
  std::string point;
  std::string dir;
};

/// One category of tasks and its capability points.
struct CategoryConfig {
  std::string name;
  std::vector<std::string> points;
  ScoreGap score_gap_min;
  std::int64_t responses_per_group_max = 0;
  std::int64_t groups_max = 0;
  std::vector<ImportedExpertConfig> imported_experts = {};

  /// Directory of the adapter that is a point's expert; "" for a point whose expert the run trains.
  [[nodiscard]] std::string imported(std::string_view point) const {
    for (const ImportedExpertConfig& expert : imported_experts) {
      if (expert.point == point) return expert.dir;
    }
    return "";
  }
};

/// AdamW and its schedule, early stopping, checkpoints: the same keys for every phase.
struct TrainConfig {
  Tuning tuning = Tuning::full;
  double lr = 1e-5;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0.0;
  double max_grad_norm = 1.0;
  Schedule schedule = Schedule::constant;
  std::int64_t warmup_steps = 0;
  double epochs_max = 1.0;
  std::int64_t steps_max = 0;
  std::int64_t groups_per_step = 8;
  std::int64_t eval_every_steps = 100;
  std::int64_t patience = 20;
  std::int64_t eval_groups_max = 200;
  SelectBy select_by = SelectBy::accuracy;
  double average_decay = 0.0;
  double soft_gaps = 0.0;
  Ties ties = Ties::none;
  double center_rewards_coefficient = 0.0;
  double checkpoint_every_s = 60.0;
  std::int64_t checkpoints_kept = 2;
  bool shard = false;
  bool gradient_checkpointing = false;
  std::int64_t lora_layers = 0;
  std::int64_t lora_rank = 32;
  double lora_alpha = 32.0;
  double lora_dropout = 0.05;
};

/// Phase 1: one model a category.
struct BaseConfig : TrainConfig {
  BaseLabels labels = BaseLabels::overall;
  BaseStart start = BaseStart::backbone;
};

/// The classifier that finds a prompt's category.
struct RouterConfig {
  RouterKind kind = RouterKind::trained;
  double lr = 1e-2;
  std::int64_t steps_max = 400;
  double weight_decay = 1e-3;
  double confidence_min = 0.5;
  double keep_share = 0.99;
  double depth = 2.0 / 3;
  Pooling pooling = Pooling::mean;
  std::int64_t clusters = 16;
  double own_share = 0.3;
  double reward_temperature = 0.1;
  std::int64_t mix_top = 1;
  double mix_gap = 0.5;
};

/// Phase 3: what makes one reward of the experts' outputs.
struct AggregatorConfig {
  AggregatorKind kind = AggregatorKind::best;
  bool base_reward = true;
  double gate_lr = 3e-3;
  double gate_weight_decay = 1.0;
  double mlp_lr = 1e-3;
  double mlp_weight_decay = 5.0;
  double lr = 1e-4;
  double weight_decay = 1e-2;
  double max_grad_norm = 1.0;
  std::int64_t steps_max = 2000;
  std::int64_t groups_per_step = 16;
  std::int64_t eval_every_steps = 5;
  std::int64_t patience = 20;
};

/// What value heads read, and where they begin.
struct HeadConfig {
  Pooling reads = Pooling::last;
  HeadStart start = HeadStart::random;
};

/// Phase 2. Experts are always adapters, as those of a category share one frozen base.
struct ExpertsConfig {
  TrainConfig train{.tuning = Tuning::lora, .lr = 1e-4, .ties = Ties::judged};
  std::int64_t per_task = 1;
  BaseWeights base_weights = BaseWeights::float32;
  std::int64_t labels_min = 8;
};

/// Everything of one run.
struct RunConfig {
  std::string name = "run";
  std::string runs_dir = "runs";
  std::uint64_t seed = 17;
  Method method = Method::dmoerm;
  LogLevel log_level = LogLevel::info;
  double phase1_share = 0.6;
  double single_lr = 0;
  std::int64_t folds = 0;
  BackboneConfig backbone;
  ComputeConfig compute;
  DataConfig data;
  std::vector<CategoryConfig> categories;
  LabelsConfig labels;
  RouterConfig router;
  HeadConfig head;
  BaseConfig base;
  ExpertsConfig experts;
  AggregatorConfig aggregator;
  ClusterConfig cluster;
  SlurmConfig slurm;
  WatchConfig watch;
  bool baselines = true;
  bool pooled_baseline = false;
};

}  // namespace dmoerm::config
