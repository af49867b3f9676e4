#include "plan/graph_builder.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "plan/disk_need.h"

namespace dmoerm::plan {
namespace {

class Building : public testing::Test {
 protected:
  Building() {
    config_.categories = {{"chat", {"logic", "tone", "wit"}, 0.0}, {"code", {"style"}, 0.0}};
    numbers_.groups_per_category = 1000;
    config_.data.validation_share = 0.1;
    config_.data.test_share = 0.1;
  }
  std::map<std::string, TaskNode> nodes() const {
    std::map<std::string, TaskNode> found;
    for (TaskNode& node : GraphBuilder(config_, StatedSizes(config_, numbers_)).build()) found.emplace(node.task.id, node);
    return found;
  }
  static bool waits(const TaskNode& node, const std::string& input) { return std::ranges::count(node.task.inputs, input) == 1; }

  config::RunConfig config_;
  StatedNumbers numbers_;
};

TEST_F(Building, ExpertsThatStepTogetherAreOneTask) {
  config_.experts.per_task = 2;
  const auto found = nodes();
  EXPECT_TRUE(found.contains("expert/chat/logic+tone") && found.contains("expert/chat/wit") &&
              found.contains("expert/code/style"));
  EXPECT_EQ(found.at("expert/chat/logic+tone").load.models, 2);
  EXPECT_EQ(expert_set_of(config_, config_.categories[0], 1), TaskId::expert("chat", {"logic", "tone"}));
  EXPECT_EQ(expert_set_of(config_, config_.categories[0], 2), TaskId::expert("chat", {"wit"}));
}

TEST_F(Building, AnImportedExpertIsReadAndNotTrained) {
  config_.experts.per_task = 2;
  config_.labels.judges.resize(1);
  const auto before = nodes();
  config_.categories[0].imported_experts = {{"wit", "adapters/wit"}, {"tone", "adapters/tone"}};
  const auto found = nodes();
  EXPECT_GT(before.at("expert/chat/wit").load.steps, 0);
  EXPECT_EQ(found.at("expert/chat/wit").load.steps, 0);
  EXPECT_GT(found.at("expert/chat/wit").load.read_groups, 0) << "its figures on the validation split";
  EXPECT_EQ(found.at("expert/chat/logic+tone").load.models, 1);
  EXPECT_EQ(found.at("expert/chat/logic+tone").load.steps, before.at("expert/chat/logic+tone").load.steps);
  EXPECT_TRUE(waits(found.at("expert/chat/wit"), "label/chat/wit")) << "whose verdicts measure it";
  EXPECT_LT(found.at("single").steps, before.at("single").steps) << "the baselines' budget is that of what is trained";
}

TEST_F(Building, EveryTaskWaitsForAllThatItReads) {
  config_.labels.judges.resize(1);
  const auto found = nodes();
  for (const auto& [id, node] : found) {
    for (const TaskId& input : node.reads) EXPECT_TRUE(waits(node, input.text())) << id << " " << input.text();
  }
  EXPECT_TRUE(waits(found.at("expert/chat/tone"), "label/chat/tone"));
  EXPECT_TRUE(waits(found.at("base/chat"), "ingest"));
  EXPECT_TRUE(waits(found.at("report"), "expert/chat/tone")) << "its metrics are in the table of costs";
  EXPECT_TRUE(waits(found.at("eval/chat"), "base/code")) << "a prompt may be routed there";
  EXPECT_EQ(found.at("bundle").task.inputs, std::vector<std::string>{"report"});
}

TEST_F(Building, RoundsLabelTrainAndChooseInTurn) {
  config_.labels.judges.resize(1);
  config_.labels.pairs.choose = config::PairChoice::uncertain;
  config_.labels.rounds = 3;
  config_.experts.per_task = 2;
  const auto found = nodes();
  const auto reads = [&](const std::string& task) {
    std::vector<std::string> texts;
    for (const TaskId& id : found.at(task).reads) texts.push_back(id.text());
    return texts;
  };
  using Texts = std::vector<std::string>;
  EXPECT_EQ(found.at("label-round-1/chat/logic").task.inputs, Texts{"label/groups"});
  EXPECT_EQ(reads("expert-round-1/chat/logic+tone"), (Texts{"base/chat", "label-round-1/chat/logic", "label-round-1/chat/tone"}));
  EXPECT_EQ(reads("gaps-round-1/chat/logic+tone"), Texts{"expert-round-1/chat/logic+tone"});
  EXPECT_EQ(reads("label-round-2/chat/tone"), Texts{"gaps-round-1/chat/logic+tone"});
  EXPECT_EQ(reads("expert-round-2/chat/logic+tone"), (Texts{"base/chat", "label-round-2/chat/logic", "label-round-2/chat/tone"}));
  EXPECT_EQ(reads("label/chat/logic"), Texts{"gaps-round-2/chat/logic+tone"}) << "the last round has the names of a run with one";
  EXPECT_TRUE(waits(found.at("label/chat/logic"), "gaps-round-1/chat/logic+tone")) << "its pairs begin with those of round 2";
  EXPECT_EQ(reads("expert/chat/logic+tone"), (Texts{"base/chat", "label/chat/logic", "label/chat/tone"}));
  EXPECT_EQ(reads("features/chat"), (Texts{"expert/chat/logic+tone", "expert/chat/wit"}));
  EXPECT_TRUE(waits(found.at("expert/code/style"), "gaps-round-2/code/style")) << "a plan takes labels for done";
  EXPECT_FALSE(found.contains("gaps-round-3/code/style") || found.contains("label-round-3/code/style"));
  EXPECT_FALSE(found.at("gaps-round-1/code/style").task.external);
  EXPECT_TRUE(found.at("label-round-2/code/style").task.external && found.at("label/code/style").task.external);
}

TEST_F(Building, HasOneRoundUnlessPairsAreUncertain) {
  const auto ids = [&] {
    std::vector<std::string> names;
    for (const auto& [id, node] : nodes()) names.push_back(id);
    return names;
  };
  config_.labels.pairs.choose = config::PairChoice::uncertain;
  const auto without = ids();
  config_.labels.rounds = 2;
  EXPECT_EQ(ids(), without) << "no judge is asked";
  config_.labels.judges.resize(1);
  EXPECT_EQ(label_rounds(config_), 2);
  config_.labels.pairs.choose = config::PairChoice::per_group;
  EXPECT_EQ(label_rounds(config_), 1);
}

TEST_F(Building, BaselinesMayTakeTheTokensOfAllRounds) {
  config_.labels.judges.resize(1);
  config_.labels.pairs.choose = config::PairChoice::uncertain;
  const std::int64_t one = nodes().at("single").steps;
  config_.labels.rounds = 2;
  EXPECT_GT(nodes().at("single").steps, one);
}

TEST_F(Building, FoldsTrainBaseAndExpertsOnceMoreEach) {
  config_.experts.per_task = 2;
  config_.experts.train.eval_groups_max = config_.base.eval_groups_max = 0;
  const auto without = nodes();
  config_.folds = 4;
  const auto found = nodes();
  EXPECT_EQ(found.size(), without.size() + 4 * (2 + 3)) << "a base a category, two expert sets of chat and one of code";
  const auto reads = [&](const std::string& task) {
    std::vector<std::string> texts;
    for (const TaskId& id : found.at(task).reads) texts.push_back(id.text());
    return texts;
  };
  EXPECT_EQ(reads("expert-fold-3/chat/wit"), std::vector<std::string>{"base-fold-3/chat"});
  EXPECT_TRUE(reads("base-fold-3/chat").empty());
  const std::vector<std::string> read = reads("features/code");
  EXPECT_EQ(read, (std::vector<std::string>{"expert/code/style", "expert-fold-1/code/style", "expert-fold-2/code/style",
                                            "expert-fold-3/code/style", "expert-fold-4/code/style"}));
  // 1000 train groups: a fold's models are trained on 750 of them, those of all on 1000 instead of phase1_share.
  EXPECT_DOUBLE_EQ(without.at("base/chat").load.trunk_groups, 600 + 125.0);
  EXPECT_DOUBLE_EQ(found.at("base/chat").load.trunk_groups, 1000 + 125.0);
  EXPECT_DOUBLE_EQ(found.at("base-fold-1/chat").load.trunk_groups, 750 + 125.0);
  EXPECT_DOUBLE_EQ(found.at("features/chat").load.read_groups, 1000 + 5 * 125.0) << "each experts rate the validation groups too";
  // 125 steps of the base and as many of each expert: the folds are not in the baselines' budget.
  EXPECT_EQ(found.at("category/chat").steps, 125 * 4);
  EXPECT_EQ(found.at("category/code").steps, 125 * 2);
}

TEST_F(Building, FoldsAreOfTheLastRound) {
  config_.labels.judges.resize(1);
  config_.labels.pairs.choose = config::PairChoice::uncertain;
  config_.labels.rounds = 2;
  config_.folds = 2;
  const auto found = nodes();
  EXPECT_TRUE(waits(found.at("expert-fold-1/code/style"), "label/code/style"));
  EXPECT_TRUE(waits(found.at("expert-fold-1/code/style"), "gaps-round-1/code/style"));
  EXPECT_TRUE(waits(found.at("expert-round-1/code/style"), "base/code"));
  for (const auto& [id, node] : found) EXPECT_TRUE(node.id.fold == 0 || node.id.round == 0) << id;
}

TEST_F(Building, EveryTrainingKnowsTheResponsesOfItsGroups) {
  int trainings = 0;
  for (const TaskNode& node : GraphBuilder(config_, StatedSizes(config_, numbers_)).build()) {
    if (node.load.steps <= 0) continue;
    ++trainings;
    EXPECT_DOUBLE_EQ(node.load.responses, numbers_.responses_per_group) << node.task.id;
  }
  EXPECT_GT(trainings, 3);
}

TEST_F(Building, ModelsOfFoldsNeedRoomOnTheDiskButNoneInTheBundle) {
  const ModelShape shape = *find_shape("qwen2.5-0.5b");
  const DeviceModel device = *find_device("h100");
  const auto results = [&] {
    const TaskGraph graph = priced_graph(GraphBuilder(config_, StatedSizes(config_, numbers_)).build(), shape, device, 1024);
    double outputs = 0;
    for (const Task& task : graph.tasks()) outputs += task.output_mib;
    return std::pair{disk_need(graph, {}, shape, device, 1, 2).results, outputs};
  };
  const auto [without, outputs_without] = results();
  config_.folds = 2;
  const auto [with, outputs_with] = results();
  EXPECT_GT(with, without);
  EXPECT_NEAR(with - without, outputs_with - outputs_without, 1e-6 * with) << "or the bundle had grown too";
  config_.pooled_baseline = true;
  config_.base.start = config::BaseStart::all_categories;
  const auto [more, outputs_more] = results();
  EXPECT_GT(more, with);
  EXPECT_NEAR(more - with, outputs_more - outputs_with, 1e-6 * more) << "neither is in the bundle";
}

TEST_F(Building, OnlyWhatTheFirstRankDoesIsExternal) {
  config_.labels.judges.resize(1);
  for (const auto& [id, node] : nodes()) EXPECT_EQ(node.task.external, id == "ingest" || id.starts_with("label/")) << id;
}

TEST_F(Building, TheSingleModelIsMeasuredOnAllCategories) {
  config_.base.eval_groups_max = 0;
  config_.base.steps_max = config_.base.eval_every_steps;  // evaluated at its start and its end
  const auto found = nodes();
  EXPECT_DOUBLE_EQ(found.at("base/chat").load.read_groups, 2 * 125.0);
  EXPECT_GT(found.at("single").load.read_groups, found.at("category/chat").load.read_groups);
  EXPECT_DOUBLE_EQ(found.at("single").load.trunk_groups, 2000 + 250.0);
}

TEST_F(Building, AnEvaluationReadsWithTheRouterAllModelsAndSomeExpertsOfOtherCategories) {
  const double groups = 125;  // test groups of a category
  auto found = nodes();
  EXPECT_DOUBLE_EQ(found.at("eval/chat").load.read_groups * 4, groups * (4 + 0.1 * 2))
      << "three experts and their base, another category's one and its base";
  EXPECT_DOUBLE_EQ(found.at("eval/code").load.read_groups * 2, groups * (2 + 0.1 * 4));
  EXPECT_DOUBLE_EQ(found.at("eval/code").load.trunk_groups, groups * 1.1);
  EXPECT_DOUBLE_EQ(found.at("eval/chat").load.whole_read_groups, groups * (2 + 0.5)) << "single, baseline; half are prompts";
  config_.base.tuning = config::Tuning::lora;
  config_.base.lora_layers = config_.experts.train.lora_layers = 1;
  found = nodes();
  EXPECT_DOUBLE_EQ(found.at("eval/chat").load.read_groups * 6, groups * (4 + 2 + 0.1 * 2)) << "all adapters share a pass";
  EXPECT_DOUBLE_EQ(found.at("eval/chat").load.whole_read_groups, groups * 0.5);
  config_.base.lora_layers = 2;
  EXPECT_DOUBLE_EQ(nodes().at("eval/chat").load.whole_read_groups, groups * (2 + 0.5)) << "adapters that begin elsewhere do not";
  config_.base.tuning = config::Tuning::full;
  config_.aggregator.base_reward = false;
  found = nodes();
  EXPECT_DOUBLE_EQ(found.at("eval/chat").load.read_groups * 3, groups * (3 + 0.1 * 1)) << "the base reads apart";
  EXPECT_DOUBLE_EQ(found.at("eval/chat").load.whole_read_groups, groups * (3 + 0.5));
  config_.baselines = false;
  config_.categories.pop_back();
  found = nodes();
  EXPECT_DOUBLE_EQ(found.at("eval/chat").load.read_groups, groups) << "there is no other category";
  EXPECT_DOUBLE_EQ(found.at("eval/chat").load.whole_read_groups, groups * (2 + 0.5));
}

TEST_F(Building, ARouterOfRewardsWaitsForTheBasesAndReadsWithAllOfThem) {
  const auto before = nodes();
  EXPECT_EQ(before.at("router").task.inputs, std::vector<std::string>{"ingest"});
  config_.router.kind = config::RouterKind::clusters;
  EXPECT_EQ(nodes().at("router").load.read_groups, before.at("router").load.read_groups);
  config_.router.kind = config::RouterKind::reward;
  const auto found = nodes();
  const TaskNode& router = found.at("router");
  EXPECT_EQ(router.task.inputs, (std::vector<std::string>{"base/chat", "base/code"}));
  EXPECT_DOUBLE_EQ(router.load.read_groups, 2 * (400 + 125.0)) << "phase 3 and validation";
  EXPECT_EQ(router.load.models, 2);
  EXPECT_DOUBLE_EQ(router.load.whole_read_groups, 2000 * 0.5 * config_.router.depth) << "the router's own reading of all prompts";
  EXPECT_GT(router.task.ranks_max, 1);
  EXPECT_TRUE(waits(found.at("eval/chat"), "router"));
  config_.folds = 2;
  const auto folds = nodes();
  for (const char* base : {"base/chat", "base-fold-1/chat", "base-fold-2/code"})
    EXPECT_TRUE(waits(folds.at("router"), base)) << base;
  EXPECT_DOUBLE_EQ(folds.at("router").load.read_groups, 2 * (1000 + 125.0));
}

TEST_F(Building, WhatHeadsStartFromAndMixedRewardsAreRead) {
  config_.base.eval_groups_max = 0;
  const auto before = nodes();
  config_.head.start = config::HeadStart::ridge;
  config_.router.mix_top = 2;
  const auto found = nodes();
  EXPECT_DOUBLE_EQ(found.at("base/chat").load.read_groups - before.at("base/chat").load.read_groups, 600 + 125.0);
  EXPECT_DOUBLE_EQ(found.at("single").load.read_groups - before.at("single").load.read_groups, 2000 + 250.0);
  EXPECT_GT(found.at("expert/chat/wit").load.read_groups, before.at("expert/chat/wit").load.read_groups);
  EXPECT_DOUBLE_EQ(found.at("eval/code").load.trunk_groups, 125 * 1.2);
}

TEST_F(Building, BasesMayLearnFromTheLabelsOfPointsToo) {
  config_.base.eval_groups_max = 0;
  const auto before = nodes();
  config_.base.labels = config::BaseLabels::all;
  const auto data = nodes();
  EXPECT_EQ(data.size(), before.size()) << "the same tasks";
  EXPECT_TRUE(data.at("base/chat").reads.empty()) << "the labels are the data's";
  // 600 groups of phase 1: each counts for the overall preference and for each of three points, or one.
  EXPECT_DOUBLE_EQ(data.at("base/chat").load.trunk_groups, 600 * 4 + 125.0);
  EXPECT_DOUBLE_EQ(data.at("base/code").load.trunk_groups, 600 * 2 + 125.0);
  EXPECT_EQ(data.at("base/chat").steps, 300) << "an epoch of 2400 groups, 8 in a step";
  EXPECT_EQ(data.at("category/chat").steps - before.at("category/chat").steps, 300 - 75) << "the baselines' budget grows with it";
  EXPECT_GT(data.at("base/chat").load.steps, before.at("base/chat").load.steps);
  numbers_.labels_per_point = 50;
  EXPECT_DOUBLE_EQ(nodes().at("base/chat").load.trunk_groups, 600 + 3 * 50 + 125.0);
  config_.labels.judges.resize(1);
  config_.labels.pairs.choose = config::PairChoice::uncertain;
  config_.labels.rounds = 2;
  config_.folds = 2;
  const auto judged = nodes();
  for (const char* base : {"base/code", "base-fold-1/code"}) {
    EXPECT_EQ(judged.at(base).reads, std::vector<TaskId>{TaskId::label("code", "style", 1)})
        << "the experts that choose the second round's pairs start from it";
    EXPECT_TRUE(waits(judged.at(base), "ingest")) << "no label waits for it";
  }
  EXPECT_TRUE(judged.at("category/code").reads.empty());
}

TEST_F(Building, ThePooledBaselineMayTakeWhatBaseAndExpertsTake) {
  const auto without = nodes();
  config_.pooled_baseline = true;
  const auto found = nodes();
  EXPECT_EQ(found.size(), without.size() + 2);
  EXPECT_EQ(found.at("pooled/chat").steps, found.at("category/chat").steps) << "groups of the same length";
  EXPECT_DOUBLE_EQ(found.at("pooled/chat").load.trunk_groups, found.at("pooled/chat").steps * 8 + 125.0);
  EXPECT_TRUE(waits(found.at("eval/chat"), "pooled/chat") && !waits(found.at("eval/chat"), "pooled/code"));
  EXPECT_DOUBLE_EQ(found.at("eval/chat").load.whole_read_groups, 125 * (3 + 0.5)) << "single, two baselines; half are prompts";
  config_.baselines = false;
  EXPECT_TRUE(nodes().contains("pooled/code") && !nodes().contains("category/code"));
  config_.labels.judges.resize(1);
  config_.labels.pairs.choose = config::PairChoice::uncertain;
  config_.labels.rounds = 2;
  EXPECT_EQ(nodes().at("pooled/code").reads, std::vector<TaskId>{TaskId::label("code", "style")}) << "those of all rounds";
}

TEST_F(Building, BasesMayStartFromOneOfAllCategories) {
  config_.base.eval_groups_max = 0;
  config_.folds = 2;
  const auto without = nodes();
  config_.base.start = config::BaseStart::all_categories;
  const auto found = nodes();
  EXPECT_EQ(found.size(), without.size() + 3) << "one for all groups and one a fold";
  EXPECT_EQ(found.at("base/chat").reads, std::vector<TaskId>{TaskId::base_of_all()});
  EXPECT_EQ(found.at("base-fold-2/code").reads, std::vector<TaskId>{TaskId::base_of_all(2)});
  EXPECT_TRUE(waits(found.at("base-of-all"), "ingest") && !waits(found.at("base/chat"), "ingest"));
  EXPECT_TRUE(waits(found.at("report"), "base-of-all"));
  EXPECT_DOUBLE_EQ(found.at("base-of-all").load.trunk_groups, 2000 + 250.0);
  EXPECT_DOUBLE_EQ(found.at("base-of-all-fold-1").load.trunk_groups, 1000 + 250.0);
  // Its 250 steps are half those of each category.
  EXPECT_EQ(found.at("category/chat").steps, without.at("category/chat").steps + 125);
  EXPECT_EQ(found.at("single").steps, without.at("single").steps + 250);
  EXPECT_EQ(found.at("base-fold-1/chat").task.base, "base-of-all-fold-1") << "its weights are loaded";
  config_.base.tuning = config::Tuning::lora;
  EXPECT_EQ(nodes().at("base/chat").task.base, nodes().at("base-of-all").task.base) << "an adapter of the same backbone";
  config_.base.labels = config::BaseLabels::all;
  EXPECT_DOUBLE_EQ(nodes().at("base-of-all").load.trunk_groups, 1000 * (4 + 2) + 250.0);
}

/// Groups of phase 1 have 100 tokens, those with labels of a point 50, all train groups 200.
struct UnequalSizes final : Sizes {
  [[nodiscard]] GroupSizes overall(const std::string& /*category*/, Subset subset) const override {
    return {100, subset == Subset::phase1 ? 100.0 : 200.0, 0, 100, 2};
  }
  [[nodiscard]] GroupSizes labelled(const std::string& /*category*/, const std::string& /*point*/) const override {
    return {100, 50, 0, 100, 2};
  }
  [[nodiscard]] GroupSizes all_labels(const std::string& /*category*/, Subset /*subset*/) const override {
    return {300, 400, 0, 300, 2};
  }
};

TEST_F(Building, BaselinesMayTakeTheTokensOfBaseAndExperts) {
  config_.base.steps_max = 10, config_.base.groups_per_step = 8;
  config_.experts.train.steps_max = 13, config_.experts.train.groups_per_step = 4;
  std::map<std::string, std::int64_t> steps;
  for (const TaskNode& node : GraphBuilder(config_, UnequalSizes()).build()) steps[node.task.id] = node.steps;
  // The base takes 10 * 8 * 100 = 8000 tokens and an expert 13 * 4 * 50 = 2600; a step of a baseline takes 8 * 200 = 1600.
  EXPECT_EQ(steps.at("category/chat"), 10) << "8000 + 3 * 2600 = 15800: 9.9 steps";
  EXPECT_EQ(steps.at("category/code"), 7) << "8000 + 2600 = 10600: 6.6 steps";
  EXPECT_EQ(steps.at("single"), 17) << "26400: 16.5 steps";
  config_.pooled_baseline = true;
  for (const TaskNode& node : GraphBuilder(config_, UnequalSizes()).build()) steps[node.task.id] = node.steps;
  EXPECT_EQ(steps.at("pooled/chat"), 5) << "15800 in steps of 8 * 400 = 3200";
}

}  // namespace
}  // namespace dmoerm::plan
