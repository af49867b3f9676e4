// What every task of a run works with, and how the models of finished tasks are loaded again.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "config/run_config.h"
#include "data/token_store.h"
#include "model/aggregator.h"
#include "model/backbone.h"
#include "model/category_router.h"
#include "train/run_directory.h"
#include "train/score_groups.h"
#include "train/task_line.h"

namespace dmoerm::train {

/// A base (its own weights, or the shared pretrained ones) with an adapter and a head.
struct LoadedModel {
  std::shared_ptr<model::Backbone> backbone;
  std::shared_ptr<model::Expert> expert;
  bool trains_all = false;
};

class RunContext {
 public:
  RunContext(const config::RunConfig& config, const data::TokenStore& store, RunDirectory directory);

  [[nodiscard]] const config::RunConfig& config() const { return config_; }
  [[nodiscard]] const data::TokenStore& store() const { return store_; }
  [[nodiscard]] const RunDirectory& directory() const { return directory_; }
  /// Of the task that runs now.
  [[nodiscard]] const TaskLine& line() const { return line_; }
  void set_line(const TaskLine& line) { line_ = line; }
  [[nodiscard]] at::Device device() const { return device_; }

  /// The pretrained backbone, loaded once a process. Frozen users share it.
  std::shared_ptr<model::Backbone> pretrained();
  /// An untrained model of phase 1: the pretrained weights (a copy if all are trained) and a small random head.
  LoadedModel fresh_model(const std::string& name);
  /// What a phase-1 task ("base/<c>", "single", "category/<c>") left. The last one loaded is kept.
  LoadedModel load_model(const std::string& task);
  /// Write a phase-1 model into its task's folder. @return its files, relative
  std::vector<std::string> save_model(const std::string& task, const LoadedModel& trained) const;
  /// A phase-1 model, or an expert over one, to score with.
  [[nodiscard]] FrozenModel frozen(const LoadedModel& model) {
    return {model.backbone.get(), model.trains_all ? nullptr : model.expert.get(), model.expert->head_D, &trunks_};
  }
  [[nodiscard]] FrozenModel frozen(const LoadedModel& base, const model::Expert& expert) {
    return {base.backbone.get(), &expert, expert.head_D, &trunks_};
  }
  [[nodiscard]] TrunkCache& trunks() { return trunks_; }
  /// The adapter that a training makes.
  [[nodiscard]] model::LoraSpec lora_of(const config::TrainConfig& train);
  /// Experts of a category in the order of its points.
  std::vector<std::shared_ptr<model::Expert>> load_experts(std::int32_t category);

  [[nodiscard]] const config::CategoryConfig& category(std::int32_t index) const {
    return config_.categories[static_cast<std::size_t>(index)];
  }
  /// Task that trains a point: "expert/<category>/<point>", or the points of its fused set joined by "+".
  [[nodiscard]] std::string expert_task(std::int32_t category, std::size_t point) const;

 private:
  const config::RunConfig& config_;
  const data::TokenStore& store_;
  RunDirectory directory_;
  at::Device device_;
  std::shared_ptr<model::Backbone> read_backbone() const;
  /// A copy of the pretrained backbone to train.
  std::shared_ptr<model::Backbone> trainable_copy();

  std::shared_ptr<model::Backbone> pretrained_;
  TrunkCache trunks_;
  TaskLine line_;
  std::string loaded_task_;
  LoadedModel loaded_;
};

/// What tasks are computed with and on that the configuration only names.
struct ComputedOn {
  std::string backbone;  ///< sha256 over config.json and every weight as loaded
  std::string device;    ///< cpu or cuda
};

/// Before any work: the backbone loads and has what the configuration asks of it.
/// @throws DataError, IoError for a broken checkpoint; ConfigError for too few positions or layers, or an absent device
ComputedOn check_backbone(const config::RunConfig& config);

/// States and rewards of all experts of a category for some groups. @param loaded  the category's base
model::ExpertFeatures expert_features(RunContext& context, std::int32_t category, const std::vector<LabelledGroup>& groups,
                                      comm::Communicator& group);

}  // namespace dmoerm::train
