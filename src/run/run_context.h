// What every task of a run uses: configuration, data, device, and the models of finished tasks.
#pragma once
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "config/run_config.h"
#include "data/token_store.h"
#include "moe/model.h"
#include "plan/task_id.h"
#include "run/run_directory.h"
#include "train/group_scorer.h"
#include "train/task_progress.h"

namespace dmoerm::run {

class RunContext {
 public:
  RunContext(const config::RunConfig& config, const data::TokenStore& store, RunDirectory directory);

  [[nodiscard]] const config::RunConfig& config() const { return config_; }
  [[nodiscard]] const data::TokenStore& store() const { return store_; }
  [[nodiscard]] const RunDirectory& directory() const { return directory_; }
  /// The progress of the task that runs now; set before each task.
  [[nodiscard]] const train::TaskProgress& progress() const { return progress_; }
  void set_progress(const train::TaskProgress& progress) { progress_ = progress; }
  [[nodiscard]] at::Device device() const { return device_; }

  /// The pretrained backbone, loaded once per process and shared by all who do not train it.
  std::shared_ptr<nn::Backbone> pretrained();
  /// The untrained model of a task of phase 1, with a small random head, or one of zeros that start_heads() replaces.
  nn::RewardModel fresh_model(const plan::TaskId& task);
  /// The model that a task of phase 1 begins with: a fresh one, the same for all folds, or a copy of what another task trained
  /// (plan::starts_from()).
  nn::RewardModel start_model(const plan::TaskId& task);
  /// The model that a task of phase 1 trained. Keeps the last one it loaded.
  nn::RewardModel load_model(const plan::TaskId& task);
  /// The same for a model with an adapter, over the pretrained backbone. What else is loaded stays.
  nn::RewardModel load_beside(const plan::TaskId& task);
  /// The finished double-layer model of this run. Kept until another model is made or loaded.
  std::shared_ptr<const moe::Model> assemble_model();
  /// The same with some categories only and without the fallback, for memory that does not hold all backbones.
  std::shared_ptr<const moe::Model> assemble_model(const std::vector<std::string>& categories);
  /// Free every model but the pretrained backbone.
  void release_models();
  /// A scorer for groups of the store, for phases 1 to 3.
  [[nodiscard]] train::GroupScorer scorer(comm::Communicator& ranks) {
    return {store_, config_.compute.micro_batch_tokens, trunks_, ranks};
  }
  [[nodiscard]] train::TrunkCache& trunks() { return trunks_; }
  /// The shape of the adapter that a training makes.
  [[nodiscard]] nn::LoraSpec lora_of(const config::TrainConfig& train);
  /// Experts of a category in the order of its points. @param fold  those without its prompts; 0 = those of all train groups
  std::vector<nn::RewardModel> load_experts(std::int32_t category, std::int32_t fold = 0);

  [[nodiscard]] const config::CategoryConfig& category(std::int32_t index) const {
    return config_.categories[static_cast<std::size_t>(index)];
  }
  /// Index of a task's category in the configuration, which equals that in the token store; -1 if the task is of no category.
  [[nodiscard]] std::int32_t category_index(const plan::TaskId& task) const;
  /// The task that trains a point, given by its place in the category; alone or with other points.
  [[nodiscard]] plan::TaskId expert_task(std::int32_t category, std::size_t point, std::int32_t fold = 0) const;

 private:
  const config::RunConfig& config_;
  const data::TokenStore& store_;
  RunDirectory directory_;
  at::Device device_;
  std::shared_ptr<nn::Backbone> read_backbone() const;
  /// The pretrained backbone, and copies of it to train.
  nn::BackboneSource backbones();
  /// Where the parts of some categories lie in the run directory.
  [[nodiscard]] moe::ModelFiles model_files(const std::vector<std::string>& categories) const;
  std::shared_ptr<const moe::Model> assemble(const std::vector<std::string>& parts, const moe::ModelFiles& files);

  std::shared_ptr<nn::Backbone> pretrained_;
  train::TrunkCache trunks_;
  train::TaskProgress progress_;
  std::optional<plan::TaskId> loaded_task_;
  nn::RewardModel loaded_;
  std::vector<std::string> assembled_parts_;  ///< what `assembled_` was assembled of
  std::shared_ptr<const moe::Model> assembled_;
};

/// Facts behind names of the configuration: which weights and which device the tasks use.
struct ComputedOn {
  std::string backbone;                              ///< SHA-256 over config.json and every weight as loaded
  std::string device;                                ///< Type of the device: cpu or cuda
  std::map<std::string, std::string> imported = {};  ///< SHA-256 of imported experts, see check_imported_experts()
};

/// Check, before any work, that the backbone loads and is large enough for the configuration.
/// @throws DataError, IoError for a broken checkpoint; ConfigError for too few positions or layers, or an absent device
/// @param hashes  where the digest is kept, for the next start with the same files; other runs of the machine find it too
ComputedOn check_backbone(const config::RunConfig& config, HashCache& hashes);

/// Where the features of some groups lie, in their order.
std::vector<moe::ExpertFeatures::Group> feature_groups_of(const data::TokenStore& store,
                                                          const std::vector<train::LabelledGroup>& groups);

}  // namespace dmoerm::run
