// Validation figures for rewards that are written by hand.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/files.h"
#include "run/run_context.h"
#include "support/scratch.h"
#include "support/tiny_backbone.h"
#include "support/tiny_model_directory.h"
#include "support/word_renderer.h"

namespace dmoerm::run {
namespace {

using nlohmann::json;

class Evaluation : public test::Scratch {
 protected:
  Evaluation() {
    const json ranked = {{"src", {"which"}},
                         {"tgt", json::array()},
                         {"response", {"the best", "the second", "as good", "the worst"}},
                         {"rank", {1, 2, 2, 3}},
                         {"label", "chat"}},
               pair = {{"src", {"what"}},
                       {"tgt", json::array()},
                       {"response", {"worse", "better"}},
                       {"rank", {2, 1}},
                       {"label", "chat"}};
    data::IngestRequest request;
    request.data.inputs.push_back(
        {write("rows.jsonl", ranked.dump() + "\n" + pair.dump() + "\n"), "auto", "", config::InputSplit::train, 1.0});
    request.renderer = test::word_renderer(1 << 30);
    request.output = directory_ / "store.h5";
    data::ingest(request);
    store_ = std::make_unique<data::TokenStore>(data::TokenStore::open(request.output));
    for (const std::string& name : store_->categories()) {
      config_.categories.emplace_back();
      config_.categories.back().name = name;
    }
    groups_ = train::labelled_groups(*store_, -1, train::Subset::train, preference::kOverall, config_);
  }

  /// Rewards of the responses in the order of the file: four of the first group, two of the second.
  [[nodiscard]] train::PairFigures figures(const std::vector<float>& by_file) const {
    train::GroupRewards scored;
    for (std::size_t g = 0; g < groups_.size(); ++g) {
      scored.first.push_back(scored.rewards.size());
      for (const std::int32_t r : groups_[g].responses)
        scored.rewards.push_back(by_file[(g == 0 ? 0U : 4U) + static_cast<std::size_t>(r)]);
    }
    return train::pair_figures(scored, groups_);
  }

  std::unique_ptr<data::TokenStore> store_;
  config::RunConfig config_;
  std::vector<train::LabelledGroup> groups_;
};

TEST_F(Evaluation, MakesEveryPairButTheTieOfARanking) {
  ASSERT_EQ(groups_.size(), 2U);
  EXPECT_EQ(groups_[0].pairs.size(), 5U) << "ranks 1 2 2 3: six pairs, one of them a tie";
  EXPECT_EQ(groups_[1].pairs.size(), 1U);
  EXPECT_EQ(train::count_pairs(groups_), 6);
}

TEST_F(Evaluation, CountsTheShareOfAllPairs) {
  EXPECT_DOUBLE_EQ(figures({4, 3, 2, 1, 0, 1}).accuracy, 1.0);
  EXPECT_DOUBLE_EQ(figures({4, 2, 3, 1, 0, 1}).accuracy, 1.0) << "either order of the tie is right";
  EXPECT_DOUBLE_EQ(figures({1, 2, 3, 4, 1, 0}).accuracy, 0.0);
  EXPECT_DOUBLE_EQ(figures({4, 3, 2, 1, 1, 0}).accuracy, 5.0 / 6) << "pairs count, not groups";
  EXPECT_DOUBLE_EQ(figures({1, 2, 3, 4, 0, 1}).accuracy, 1.0 / 6);
  EXPECT_DOUBLE_EQ(figures({1, 1, 1, 1, 1, 1}).accuracy, 0.5);
  EXPECT_EQ(figures({1, 1, 1, 1, 1, 1}).pairs, 6);
  EXPECT_NEAR(figures({1, 1, 1, 1, 1, 1}).loss, std::log(2.0), 1e-6);
}

TEST_F(Evaluation, SharesOneBackboneAmongAdapterBases) {
  test::write_tiny_model(directory_ / "model", 50);
  config_.backbone.dir = (directory_ / "model").string();
  config_.compute.device = config::Device::cpu;
  for (const config::Tuning tuning : {config::Tuning::lora, config::Tuning::full}) {
    config_.base.tuning = tuning;
    RunContext context(config_, *store_, RunDirectory(directory_ / config::word(tuning)));
    for (const plan::TaskId& task : {plan::TaskId::base("a"), plan::TaskId::base("b")}) {
      const nn::RewardModel fresh = context.fresh_model(task);
      at::Tensor(fresh.head().w_D).fill_(task.category == "a" ? 1.0 : 2.0);
      fresh.save(context.directory().task(task));
    }
    const nn::RewardModel a = context.load_model(plan::TaskId::base("a")), b = context.load_model(plan::TaskId::base("b"));
    EXPECT_EQ(a.head().w_D[0].item<float>(), 1.0F);
    EXPECT_EQ(b.head().w_D[0].item<float>(), 2.0F);
    EXPECT_EQ(&a.backbone() == &b.backbone(), config_.base.tuning == config::Tuning::lora) << config::word(tuning);
  }
}

}  // namespace
}  // namespace dmoerm::run
