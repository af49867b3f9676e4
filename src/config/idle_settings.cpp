#include "config/idle_settings.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "config/writer.h"

namespace dmoerm::config {
namespace {

/// The defaults in the shape of a configuration: every list has as many elements as its own.
RunConfig defaults_for(const RunConfig& config) {
  RunConfig defaults;
  defaults.categories.resize(config.categories.size());
  for (std::size_t i = 0; i < config.categories.size(); ++i)
    defaults.categories[i].imported_experts.resize(config.categories[i].imported_experts.size());
  defaults.data.inputs.resize(config.data.inputs.size());
  defaults.labels.judges.resize(config.labels.judges.size());
  for (std::size_t i = 0; i < config.labels.judges.size(); ++i)
    defaults.labels.judges[i].endpoints.resize(config.labels.judges[i].endpoints.size());
  return defaults;
}

class IdleSettings {
 public:
  IdleSettings(const RunConfig& config, const std::map<std::string, Position>& where, const Problems& problems)
      : config_(config), where_(where), problems_(problems) {
    const std::vector<FlatValue> own = flatten(config), defaults = flatten(defaults_for(config));
    const std::set<FlatValue> usual(defaults.begin(), defaults.end());
    for (const FlatValue& value : own) {
      if (!usual.contains(value)) changed_.insert(value.first);
    }
  }

  /// `key` is idle. It is worth a word if somebody gave it a value of their own.
  void idle(const std::string& key, const std::string& because, const std::string& on = "") {
    if (changed_.contains(key)) say(key, because, on);
  }

  /// The same for several keys of one section.
  void idle(const std::string& section, std::initializer_list<const char*> keys, const std::string& because,
            const std::string& on = "") {
    for (const char* key : keys) idle(section + "." + key, because, on);
  }

  /// The same for every key of one section.
  void idle_section(const std::string& section, const std::string& because) {
    for (const std::string& key : changed_) {
      if (key.starts_with(section + ".")) say(key, because, "");
    }
  }

  /// Like idle(), with the default value as well.
  void say(const std::string& key, const std::string& because, const std::string& on) {
    if (const auto written = where_.find(key); written != where_.end())
      said_.emplace(written->second,
                    fmt::format("{}: {} has no effect{}, because {}", problems_.place(written->second), key, on, because));
  }

  void data() {
    const DataConfig& data = config_.data;
    const auto with_split = [](const InputConfig& input) { return input.split != InputSplit::own; };
    if (!data.inputs.empty() && std::ranges::all_of(data.inputs, with_split))
      idle("data", {"validation_share", "test_share"}, "each of data.inputs has a split");
    for (std::size_t i = 0; i < data.inputs.size(); ++i) {
      const InputSplit split = data.inputs[i].split;
      if (split == InputSplit::validation || split == InputSplit::test)
        idle(fmt::format("data.inputs.{}.weight", i),
             fmt::format("split is {}, and the weight is one of train groups", word(split)));
    }
    const auto own_groups = [](const CategoryConfig& c) { return c.groups_max > 0; };
    const auto own_responses = [](const CategoryConfig& c) { return c.responses_per_group_max > 0; };
    if (std::ranges::all_of(config_.categories, own_groups))
      idle("data.groups_per_category_max", "each category has a groups_max of its own");
    if (std::ranges::all_of(config_.categories, own_responses))
      idle("data.responses_per_group_max", "each category has a responses_per_group_max of its own");
  }

  void training(const std::string& path, const TrainConfig& train) {
    if (train.steps_max > 0)
      idle(path + ".epochs_max",
           fmt::format("{}.steps_max is {}, which alone decides: remove one of them", path, train.steps_max));
    if (train.tuning == Tuning::full)
      idle(path, {"lora_layers", "lora_rank", "lora_alpha", "lora_dropout"},
           path + ".tuning is full, which trains the weights themselves: set it to lora for an adapter");
  }

  void experts() {
    if (config_.labels.judges.empty()) return;
    idle("experts.train.soft_gaps", "judges label the capability points (labels.judges), and the judges' labels have no gaps");
  }

  void layers() {
    const auto all = [](const TrainConfig& train) { return train.tuning == Tuning::full || train.lora_layers == 0; };
    if (all(config_.base) && all(config_.experts.train))
      idle("compute.trunk_cache_mb",
           "every layer is trained or adapted (lora_layers is 0): hidden states that stay the same are kept only below them");
  }

  void labels() {
    const LabelsConfig& labels = config_.labels;
    if (labels.judges.empty()) return idle_section("labels", "labels.judges is empty: the labels come from the data");
    if (!labels.prompt_file.empty()) idle("labels.prompt", "labels.prompt_file is used instead");
    if (labels.pairs.choose == PairChoice::all) idle("labels.pairs.per_group", "labels.pairs.choose is all: no group is thinned");
    if (labels.pairs.choose != PairChoice::uncertain)
      idle("labels.pairs.bundle", fmt::format("labels.pairs.choose is {}, which consults no model", word(labels.pairs.choose)));
    const auto batch = [](const JudgeConfig& judge) { return judge.api == JudgeApi::batch; };
    if (std::ranges::none_of(labels.judges, batch)) idle("labels.batch_price_share", "no judge has api: batch");
    if (labels.judges.size() == 1) idle("labels.vote", "there is one judge, whose votes all weigh the same");
    for (std::size_t i = 0; i < labels.judges.size(); ++i) judge(fmt::format("labels.judges.{}", i), labels.judges[i]);
  }

  void judge(const std::string& key, const JudgeConfig& judge) {
    if (config_.labels.judges.size() == 1)
      idle(key + ".weight", "there is one judge");
    else if (config_.labels.vote == Vote::majority)
      idle(key + ".weight", "labels.vote is majority, which counts every judge once: set it to weights");
    if (judge.temperature == 0) idle(key + ".top_p", "temperature is 0, which takes the likeliest token");
    if (judge.api == JudgeApi::batch)
      idle(key, {"tries_max", "backoff_s", "backoff_max_s"}, "api is batch, which is tried again by rules of its own");
  }

  void aggregator() {
    using enum AggregatorKind;
    const AggregatorKind kind = config_.aggregator.kind;
    const std::string because = fmt::format("aggregator.kind is {}", word(kind));
    const std::string on = " on the model, only on what the report says of other kinds";
    const bool gate_counts = kind == gate || kind == best, mlp_counts = kind == mlp || kind == best;
    if (!gate_counts) idle("aggregator", {"gate_lr", "gate_weight_decay"}, because, on);
    if (!mlp_counts) idle("aggregator", {"mlp_lr", "mlp_weight_decay"}, because, on);
    if (kind != paper_mlp) idle("aggregator", {"lr", "weight_decay"}, because + ", and these belong to paper_mlp", on);
    if (!gate_counts && !mlp_counts && kind != paper_mlp)
      idle("aggregator", {"max_grad_norm", "steps_max", "groups_per_step", "eval_every_steps", "patience"},
           because + ", which is not fitted in steps", on);
  }

  void router() {
    const RouterConfig& router = config_.router;
    const std::string because = fmt::format("router.kind is {}", word(router.kind));
    if (router.kind == RouterKind::clusters)
      idle("router", {"lr", "steps_max", "weight_decay"}, because + ", which is not fitted in steps");
    else
      idle("router.clusters", because);
    if (router.kind != RouterKind::reward) idle("router", {"own_share", "reward_temperature"}, because);
    if (router.mix_top == 1) idle("router.mix_gap", "router.mix_top is 1: the rewards of one category are never mixed");
    if (config_.categories.size() == 1) idle("router.mix_top", "there is one category");
  }

  void devices() {
    const ComputeConfig& compute = config_.compute;
    if (compute.device == Device::cpu) idle("cluster.share_gpu", "compute.device is cpu");
    if (config_.cluster.cost_per_device_hour == 0)
      idle("cluster.currency", "cluster.cost_per_device_hour is 0: no price is shown");
    if (config_.watch.port < 0) idle("watch", {"address", "token_env"}, "watch.port is -1: no status page is served");
  }

  void folds() {
    if (config_.folds > 0)
      say("phase1_share", fmt::format("folds is {}: all train groups serve phases 1, 2 and 3; remove one of them", config_.folds),
          "");
  }

  [[nodiscard]] std::vector<std::string> said() const {
    std::vector<std::string> sentences;
    for (const auto& [where, sentence] : said_) sentences.push_back(sentence);
    return sentences;
  }

 private:
  const RunConfig& config_;
  const std::map<std::string, Position>& where_;
  const Problems& problems_;
  std::set<std::string> changed_;              ///< keys whose values are not the default
  std::multimap<Position, std::string> said_;  ///< Sentences in the order of the file
};

}  // namespace

std::vector<std::string> settings_without_effect(const RunConfig& config, const std::map<std::string, Position>& where,
                                                 const Problems& problems) {
  IdleSettings settings(config, where, problems);
  settings.folds();
  settings.data();
  settings.training("base", config.base);
  settings.training("experts.train", config.experts.train);
  settings.experts();
  settings.layers();
  settings.labels();
  settings.aggregator();
  settings.router();
  settings.devices();
  return settings.said();
}

}  // namespace dmoerm::config
