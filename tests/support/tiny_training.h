// A fixture for tests of training: generated groups in a token store, a tiny random backbone, models to train.
#pragma once
#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "base/error.h"
#include "base/files.h"
#include "comm/single_process.h"
#include "support/tiny_backbone.h"
#include "support/word_renderer.h"
#include "synth/synth.h"
#include "train/reward_trainer.h"

namespace dmoerm::train {

namespace fs = std::filesystem;

class TinyTraining : public testing::Test {
 protected:
  static constexpr std::int64_t kVocab = 300;

  static void SetUpTestSuite() {
    folder_ = new fs::path(fs::temp_directory_path() / ("dmoerm_training_" + std::to_string(::getpid())));
    fs::create_directories(*folder_);
    synth::SynthOptions options;
    options.groups = 60, options.categories = 2, options.responses = 3, options.noise = 0.0;
    std::ofstream(*folder_ / "synth.jsonl") << synth::synthesize(options).jsonl;
    data::IngestRequest request;
    request.data.inputs.push_back({(*folder_ / "synth.jsonl").string(), "auto", "", config::InputSplit::own, 1.0});
    request.renderer = test::word_renderer(kVocab);
    request.output = *folder_ / "store.h5";
    data::ingest(request);
    store_ = new data::TokenStore(data::TokenStore::open(request.output));
  }
  static void TearDownTestSuite() {
    fs::remove_all(*folder_);
    delete store_;
    delete folder_;
  }

  TinyTraining() {
    backbone_ = test::tiny_backbone(kVocab);
    for (const std::string& name : store_->categories()) config_.categories.push_back({name, {}, 0.0});
    train_.lr = 5e-3, train_.groups_per_step = 6, train_.steps_max = 12, train_.eval_every_steps = 4, train_.lora_dropout = 0.1,
    train_.checkpoint_every_s = 1e9;
    compute_.micro_batch_tokens = 300;
  }

  train::Trainee trainee(const std::string& name, std::string_view label = preference::kOverall, bool all = false) const {
    train::Trainee t;
    t.name = name;
    if (all) {
      t.model = nn::RewardModel(std::make_shared<nn::Backbone>(backbone_->spec(), backbone_->weights().clone()));
    } else {
      t.model = nn::RewardModel(backbone_, nn::LoraSpec{4, 8.0, train_.lora_dropout, first_layer_});
      t.model.adapter()->initialise(stable_hash(name));
    }
    at::manual_seed(static_cast<std::uint64_t>(name.size()));
    at::Tensor w_D = t.model.head().w_D;
    w_D.copy_(at::randn(w_D.sizes()) * 0.1);
    t.training = train::labelled_groups(*store_, 0, train::Subset::train, label, config_);
    t.validation = train::labelled_groups(*store_, 0, train::Subset::validation, label, config_);
    return t;
  }

  std::vector<train::TrainOutcome> train(std::vector<train::Trainee>& trainees, const std::string& folder = "none") {
    const auto group = comm::single();
    if (folder == "none") fs::remove_all(*folder_ / folder);
    return train(*group, trainees, folder);
  }
  std::vector<train::TrainOutcome> train(comm::Communicator& group, std::vector<train::Trainee>& trainees,
                                         const std::string& folder) const {
    train::TrunkCache trunks(trunk_bytes_);
    return train::train_rewards({*store_, train_, compute_, 17, group, *folder_ / folder, "key", trunks, progress_}, trainees);
  }
  /// What a training may differ from one whose passes hold other rows: on a GPU the order of a product's sums depends on its
  /// rows, and AdamW makes whole steps of small gradients.
  double rounding() const { return backbone_->device().is_cuda() ? 1e-2 : 1e-5; }
  /// Everything that training changes.
  static at::Tensor all_of(const nn::RewardModel& model) { return at::cat(model.trained_slices()); }
  at::Tensor trained(const std::string& name, bool all = false) {
    std::vector<train::Trainee> one = {trainee(name, preference::kOverall, all)};
    train(one, name);
    fs::remove_all(*folder_ / name);
    return all_of(one[0].model);
  }

  /// trained() that pauses each `every`-th time that it is asked to, and is started as often as that takes.
  at::Tensor trained_with_pauses(const std::string& name, int every, bool all = false) {
    int asked = 0;
    progress_.pause_asked = [&] { return ++asked % every == 0; };
    std::vector<Trainee> one;
    for (bool done = false; !done;) {
      one = {trainee(name, preference::kOverall, all)};
      try {
        train(one, name);
        done = true;
      } catch (const Paused&) {
      }
    }
    fs::remove_all(*folder_ / name);
    progress_ = {};
    EXPECT_GT(asked, every) << "it was paused at least once";
    return all_of(one[0].model);
  }

  inline static fs::path* folder_ = nullptr;
  inline static data::TokenStore* store_ = nullptr;
  std::shared_ptr<nn::Backbone> backbone_;
  config::RunConfig config_;
  config::TrainConfig train_;
  config::ComputeConfig compute_;
  train::TaskProgress progress_;
  std::int64_t first_layer_ = 0;
  std::size_t trunk_bytes_ = 1 << 20;
};

}  // namespace dmoerm::train
