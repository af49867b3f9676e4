// Why the model has an outer layer (arXiv 2403.01197, section 3): two categories have opposite preferences, and nothing in the
// prompts shows which is which.
#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/hash.h"
#include "base/rng.h"
#include "comm/single_process.h"
#include "data/ingest.h"
#include "support/scratch.h"
#include "support/tiny_backbone.h"
#include "support/word_renderer.h"
#include "train/group_scorer.h"
#include "train/reward_trainer.h"

namespace dmoerm::train {
namespace {

constexpr std::int64_t kVocab = 300;
constexpr int kGroups = 160;

/// Two responses to a prompt of random words, one polite and one curt: "warm" prefers the first, "brisk" the second.
std::string opposite_rows() {
  std::string rows;
  for (int i = 0; i < 2 * kGroups; ++i) {
    Rng rng(5, "rows", static_cast<std::uint64_t>(i));
    const auto words = [&] {
      std::string text;
      for (int w = 0; w < 4; ++w) text += fmt::format("word{} ", rng.below(40));
      return text;
    };
    const bool warm = i % 2 == 0;
    const std::string polite = words() + "please", curt = words() + "now";
    rows += fmt::format(
        "{{\"id\":\"{}\",\"category\":\"{}\",\"split\":\"{}\",\"prompt\":\"{}\",\"chosen\":\"{}\",\"rejected\":\"{}\"}}\n", i,
        warm ? "warm" : "brisk",
        i % 5 == 0   ? "test"
        : i % 5 == 1 ? "validation"
                     : "train",
        words() + std::to_string(i), warm ? polite : curt, warm ? curt : polite);
  }
  return rows;
}

class OppositePreferences : public test::Scratch {
 protected:
  OppositePreferences() {
    data::IngestRequest request;
    request.data.inputs.push_back({write("rows.jsonl", opposite_rows()), "auto", "", config::InputSplit::own, 1.0});
    request.renderer = test::word_renderer(kVocab);
    request.output = directory_ / "store.h5";
    data::ingest(request);
    store_ = std::make_unique<data::TokenStore>(data::TokenStore::open(request.output));
    for (const std::string& name : store_->categories()) {
      config_.categories.emplace_back();
      config_.categories.back().name = name;
    }
    train_.lr = 1e-2;
    train_.groups_per_step = 8;
    train_.steps_max = 30;
    train_.eval_every_steps = 15;
    train_.checkpoint_every_s = 1e9;
  }

  /// A reward model of one category (or of both: -1).
  nn::RewardModel train(std::int32_t category) {
    Trainee trainee;
    trainee.name = fmt::format("model/{}", category);
    trainee.model = nn::RewardModel(backbone_, nn::LoraSpec{4, 8.0, 0.0});
    trainee.model.adapter()->initialise(stable_hash(trainee.name));
    at::manual_seed(3);
    at::Tensor w_D = trainee.model.head().w_D;
    w_D.copy_(at::randn(w_D.sizes()) * 0.1);
    trainee.training = labelled_groups(*store_, category, Subset::train, preference::kOverall, config_);
    trainee.validation = labelled_groups(*store_, category, Subset::validation, preference::kOverall, config_);
    std::vector<Trainee> one = {trainee};
    train_rewards({*store_, train_, compute_, 17, *group_, directory_ / trainee.name, "key", trunks_}, one);
    return one[0].model;
  }

  double test_accuracy(const nn::RewardModel& model, std::int32_t category) {
    const auto groups = labelled_groups(*store_, category, Subset::test, preference::kOverall, config_);
    return pair_figures(GroupScorer{*store_, 1000, trunks_, *group_}.rewards(model, groups), groups).accuracy;
  }

  std::unique_ptr<data::TokenStore> store_;
  std::shared_ptr<nn::Backbone> backbone_ = test::tiny_backbone(kVocab);
  std::unique_ptr<comm::Communicator> group_ = comm::single();
  config::RunConfig config_;
  config::TrainConfig train_;
  config::ComputeConfig compute_;
  TrunkCache trunks_{0};
};

TEST_F(OppositePreferences, NeedOneModelPerCategory) {
  const nn::RewardModel single = train(-1);
  EXPECT_LT(test_accuracy(single, -1), 0.62);
  for (const std::int32_t category : {0, 1}) EXPECT_GT(test_accuracy(train(category), category), 0.9);
}

}  // namespace
}  // namespace dmoerm::train
