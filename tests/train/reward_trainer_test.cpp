// Training on a tiny random backbone and generated data.
#include <fmt/format.h>

#include <csignal>
#include <set>

#include "base/activity.h"
#include "base/error.h"
#include "base/stop.h"
#include "comm/single_process.h"
#include "support/scratch.h"
#include "support/thread_group.h"
#include "support/tiny_training.h"
#include "train/checkpoint.h"
#include "train/group_scorer.h"
#include "train/soft_gaps.h"

namespace dmoerm::train {
namespace {

double relative_gap(const at::Tensor& a, const at::Tensor& b) { return ((a - b).norm() / b.norm()).item<double>(); }

TEST_F(TinyTraining, LearnsItsLabelsAndLeavesTheFrozenBaseAlone) {
  const at::Tensor before = backbone_->weights().flat.clone();
  train_.steps_max = 60;
  train_.eval_every_steps = 20;
  train_.lr = 1e-2;
  std::vector<Trainee> one = {trainee("expert", "empathy")};
  ASSERT_FALSE(one[0].training.empty());
  const at::Tensor head = one[0].model.head().w_D.clone(), adapter = one[0].model.adapter()->layers[0].b_q.clone();
  train(one);
  const auto group = comm::single();
  TrunkCache trunks(0);
  const PairFigures figures =
      pair_figures(GroupScorer{*store_, 1000, trunks, *group}.rewards(one[0].model, one[0].training), one[0].training);
  EXPECT_GT(figures.accuracy, 0.8);
  EXPECT_TRUE(backbone_->weights().flat.equal(before));
  EXPECT_FALSE(one[0].model.head().w_D.equal(head));
  EXPECT_FALSE(one[0].model.adapter()->layers[0].b_q.equal(adapter));
}

TEST_F(TinyTraining, TrainsTopLayersTheSameWithAnySizeOfTrunkCache) {
  first_layer_ = 1;
  const at::Tensor kept = trained("expert");
  trunk_bytes_ = 20000;  // room for a few groups
  EXPECT_TRUE(trained("expert").equal(kept));
  trunk_bytes_ = 0;
  EXPECT_TRUE(trained("expert").equal(kept));
}

TEST_F(TinyTraining, TrainsATopLayerAdapterLikeAFullOneWithZerosBelow) {
  first_layer_ = 1;
  const Trainee top = trainee("expert");
  for (const auto& layer : {top.model.adapter()->layers[1]})
    layer.b_q.copy_(at::randn(layer.b_q.sizes())), layer.b_v.copy_(at::randn(layer.b_v.sizes()));
  const nn::RewardModel full(backbone_, nn::LoraSpec{4, 8.0, train_.lora_dropout});
  for (const auto& [name, slot] : full.adapter()->named()) {
    for (const auto& [other, value] : top.model.adapter()->named()) {
      if (name == other) slot.copy_(value);
    }
  }
  TrunkCache trunks(1 << 20);
  const auto group = comm::single();
  const auto with = [&](const nn::RewardModel& model) {
    return GroupScorer{*store_, 300, trunks, *group}.states({model}, top.validation).states_NKD;
  };
  EXPECT_LT(relative_gap(with(top.model), with(full)), 1e-5);
  EXPECT_GT(trunks.bytes(), 0U);
  EXPECT_GT(relative_gap(with(top.model), with(nn::RewardModel(backbone_, nn::LoraSpec{4, 8.0, 0.0}))),
            1e-2);  // the adapter matters

  const fs::path folder = *folder_ / "top";
  top.model.save(folder);
  const nn::RewardModel again = nn::RewardModel::load(folder, {[&] { return backbone_; }, {}});
  EXPECT_EQ(again.adapter()->lora().first_layer, 1);
  EXPECT_TRUE(all_of(again).equal(all_of(top.model)));
}

TEST_F(TinyTraining, GathersStatesOfSeveralModelsOnTheFirstRankAlone) {
  first_layer_ = 1;
  const std::vector<LabelledGroup> groups = trainee("x").training;
  std::vector<nn::RewardModel> models = {trainee("a").model, trainee("bb").model, trainee("ccc").model};
  for (const nn::RewardModel& model : models) at::Tensor(model.adapter()->layers[1].b_v).normal_();
  TrunkCache trunks(0);
  const auto alone = comm::single();
  const GroupStates whole = GroupScorer{*store_, 300, trunks, *alone}.states(models, groups);
  for (std::int64_t m = 0; m < 3; ++m) {
    const auto& model = models[static_cast<std::size_t>(m)];
    const auto rewards = GroupScorer{*store_, 300, trunks, *alone}.rewards(model, groups).rewards;
    EXPECT_TRUE(whole.rewards_NK.select(1, m).equal(at::tensor(at::ArrayRef<float>(rewards)))) << m;
    const at::Tensor states_ND = whole.states_NKD.select(1, m).to(backbone_->device());
    EXPECT_LT(relative_gap(model.rewards(states_ND).cpu(), whole.rewards_NK.select(1, m)), 1e-6);
  }
  test::on_ranks(4, [&](comm::Communicator& group) {
    TrunkCache own(0);
    const GroupStates part = GroupScorer{*store_, 300, own, group}.states(models, groups);
    EXPECT_EQ(part.states_NKD.defined(), group.rank() == 0);
    if (group.rank() != 0) return;
    EXPECT_TRUE(part.states_NKD.equal(whole.states_NKD));
    EXPECT_TRUE(part.rewards_NK.equal(whole.rewards_NK));
  });
}

TEST_F(TinyTraining, ComputesLayersBelowTheAdaptersOnceForAllModels) {
  first_layer_ = 1;
  const std::vector<LabelledGroup> groups = trainee("x").training;
  const std::vector<nn::RewardModel> models = {trainee("a").model, trainee("bb").model, trainee("ccc").model};
  TrunkCache trunks(0);  // keeps nothing from one batch to the next
  const auto alone = comm::single();
  std::uint64_t batches = 0;
  StatesUnderWay counted;
  counted.take = [&](const GroupStates&, std::int64_t) { ++batches; };
  const auto layers_run = [&](const std::vector<nn::RewardModel>& some) {
    batches = 0;
    const std::uint64_t before = activity();  // every layer counts
    GroupScorer{*store_, 300, trunks, *alone}.stream_states(some, groups, counted);
    return activity() - before;
  };
  const std::uint64_t one = layers_run({models[0]}), three = layers_run(models);
  ASSERT_GT(batches, 5U);
  EXPECT_EQ(three - one, 2 * batches * (static_cast<std::uint64_t>(backbone_->spec().layers) - 1));
}

TEST_F(TinyTraining, StreamsStatesARoundAtATimeAndGoesOnAfterASignal) {
  const std::vector<LabelledGroup> groups = trainee("x").training;
  const std::vector<nn::RewardModel> models = {trainee("a").model, trainee("bb").model};
  TrunkCache trunks(0);
  const auto alone = comm::single();
  const GroupScorer scorer{*store_, 100, trunks, *alone};
  const GroupStates whole = scorer.states(models, groups);
  int rounds = 0;
  std::int64_t largest_round = 0, end = 0;
  const auto expect_rows = [&](const GroupStates& some, std::int64_t first) {
    const std::int64_t rows = some.states_NKD.size(0);
    EXPECT_TRUE(some.states_NKD.equal(whole.states_NKD.narrow(0, first, rows)));
    EXPECT_TRUE(some.rewards_NK.equal(whole.rewards_NK.narrow(0, first, rows)));
    ++rounds, largest_round = std::max(largest_round, rows), end = first + rows;
  };
  StatesUnderWay streamed;
  streamed.take = expect_rows;
  scorer.stream_states(models, groups, streamed);
  const int all_rounds = rounds;
  ASSERT_GT(all_rounds, 10);
  EXPECT_EQ(end, whole.states_NKD.size(0));
  EXPECT_LE(largest_round, 100) << "each response has a token";

  std::int64_t known = 0;
  StatesUnderWay interrupted;
  interrupted.take = [&](const GroupStates& some, std::int64_t first) {
    expect_rows(some, first);
    if (rounds == 2) request_stop(SIGTERM);
  };
  interrupted.leave = [&](std::int64_t responses) { known = responses; };
  rounds = 0;
  test::on_ranks(2, [&](comm::Communicator& group) {
    TrunkCache own(0);
    EXPECT_THROW((GroupScorer{*store_, 100, own, group}.stream_states(models, groups, interrupted)), Stopped);
  });
  request_stop(0);
  ASSERT_GT(known, 0);
  EXPECT_EQ(known, end);
  for (const std::int64_t responses : {known, known - 1}) {  // also from the middle of a batch
    StatesUnderWay rest = streamed;
    rest.known = responses;
    rounds = 0, end = 0;
    scorer.stream_states(models, groups, rest);
    EXPECT_LT(rounds, all_rounds) << "the known responses are not computed again";
    EXPECT_EQ(end, whole.states_NKD.size(0));
  }
}

TEST_F(TinyTraining, TrainsExpertsTogetherAsEachAlone) {
  train_.steps_max = 50;
  train_.eval_every_steps = 50;
  std::vector<Trainee> together = {trainee("a", "empathy"), trainee("bb", "next_step"), trainee("ccc", "professional")};
  train(together);
  for (const auto& [name, point] : {std::pair("a", "empathy"), std::pair("bb", "next_step"), std::pair("ccc", "professional")}) {
    std::vector<Trainee> alone = {trainee(name, point)};
    train(alone);
    const auto same = std::ranges::find(together, name, &Trainee::name);
    EXPECT_LT(relative_gap(all_of(same->model), all_of(alone[0].model)), rounding()) << name;
  }
}

TEST_F(TinyTraining, ChangesOnlyRoundingWithTheSizeOfMicroBatches) {
  train_.lora_dropout = 0;  // dropout masks depend on micro batches
  compute_.micro_batch_tokens = 100;
  const at::Tensor small = trained("x");
  compute_.micro_batch_tokens = 100000;
  EXPECT_LT(relative_gap(small, trained("x")), 1e-4);
}

TEST_F(TinyTraining, KeepsDropoutOnAfterEvaluations) {
  train_.patience = 1000;
  train_.steps_max = 8;
  const auto last_of = [&](std::int64_t every) {
    train_.eval_every_steps = every;
    train_.checkpoint_every_s = 0;
    std::vector<Trainee> one = {trainee("x")};
    fs::remove_all(*folder_ / "often");
    train(one, "often");
    return find_checkpoint(*folder_ / "often", "key")->load("0.parameter.0");
  };
  const at::Tensor rarely = last_of(8), often = last_of(1);
  EXPECT_TRUE(rarely.equal(often));
  train_.lora_dropout = 0.0;
  EXPECT_FALSE(rarely.equal(last_of(8)));  // dropout was on
}

TEST_F(TinyTraining, EndsWithTheSameBitsWhenResumed) {
  for (const bool all : {false, true}) {
    const at::Tensor whole = trained("x", all);
    train_.checkpoint_every_s = 0;  // after every step
    std::vector<Trainee> first = {trainee("x", preference::kOverall, all)};
    train(first, "resume");
    for (const auto& entry : fs::directory_iterator(*folder_ / "resume")) {  // as if killed before the last checkpoint
      if (entry.path().filename() == "checkpoint-11.json") fs::remove(entry.path());
    }
    ASSERT_EQ(find_checkpoint(*folder_ / "resume", "key")->step(), 10);
    std::vector<Trainee> again = {trainee("x", preference::kOverall, all)};
    train(again, "resume");
    const at::Tensor resumed = all_of(again[0].model);
    EXPECT_TRUE(resumed.equal(whole)) << (all ? "all weights" : "adapter");
    fs::remove_all(*folder_ / "resume");
    train_.checkpoint_every_s = 1e9;
  }
}

TEST_F(TinyTraining, ContinuesWithTheOthersWhenAnExpertDiverges) {
  std::vector<Trainee> both = {trainee("bad", "empathy"), trainee("good", "next_step")};
  at::Tensor(both[0].model.head().w_D).fill_(std::numeric_limits<float>::infinity());
  const auto outcomes = train(both);
  EXPECT_NE(outcomes[0].failure.find("bad: loss or gradient became NaN"), std::string::npos) << outcomes[0].failure;
  EXPECT_NE(outcomes[0].failure.find("group "), std::string::npos) << outcomes[0].failure;
  EXPECT_EQ(outcomes[1].failure, "");
  std::vector<Trainee> alone = {trainee("good", "next_step")};
  train(alone);
  EXPECT_LT(relative_gap(all_of(both[1].model), all_of(alone[0].model)), rounding());
}

TEST_F(TinyTraining, NamesTheGroupOfAnInfiniteLossWithAFiniteGradient) {
  std::vector<Trainee> one = {trainee("x")};
  LabelledGroup& group = one[0].training.front();
  group.pairs.front().margin = std::numeric_limits<float>::infinity();  // the loss is infinite, its gradient is finite
  EXPECT_NE(train(one)[0].failure.find(", group " + std::string(store_->group(group.group).id)), std::string::npos);
}

TEST_F(TinyTraining, KeepsTheOthersWorkWhenAFailedExpertIsTriedAgain) {
  const auto both = [&] {
    std::vector<Trainee> trainees = {trainee("bad", "empathy"), trainee("good", "next_step")};
    at::Tensor(trainees[0].model.head().w_D).fill_(std::numeric_limits<float>::infinity());
    return trainees;
  };
  std::vector<Trainee> first = both(), second = both();
  const auto before = train(first, "retry");
  const auto after = train(second, "retry");
  EXPECT_NE(after[0].failure, "") << "its first step fails again";
  EXPECT_EQ(after[1].failure, "");
  EXPECT_TRUE(all_of(first[1].model).equal(all_of(second[1].model)));
  EXPECT_LT(after[1].tokens - before[1].tokens, before[1].tokens / 4)
      << "one step of one expert was computed, not the training of both";
}

class FailingExperts : public TinyTraining {
 protected:
  FailingExperts() {
    compute_.micro_batch_tokens = 60;  // no pass has room for two experts, so none has other bits than alone
    train_.steps_max = 10, train_.groups_per_step = 3, train_.eval_every_steps = 5;
  }
  /// Three experts. Two of them fail in their third and seventh step, unless they are healthy.
  std::vector<Trainee> experts(bool healthy) const {
    std::vector<Trainee> all = {trainee("a", "empathy"), trainee("bb", "next_step"), trainee("ccc", "professional")};
    for (Trainee& t : all) t.validation = t.training;  // so that the first weights are not the best
    if (!healthy) fail_at(all[0], 2), fail_at(all[1], 6);
    return all;
  }
  /// Make the group infinite that the step visits, and no step before it.
  void fail_at(Trainee& t, std::int64_t step) const {
    GroupOrder order(copies_of(*store_, t.training), 17, t.name);
    std::set<std::size_t> before;
    for (std::int64_t p = 0; p < 3 * step; ++p) before.insert(order.at(p));
    for (std::int64_t p = 3 * step; p < 3 * (step + 1); ++p) {
      if (before.contains(order.at(p))) continue;
      t.training[order.at(p)].pairs.front().margin = std::numeric_limits<float>::infinity();
      return;
    }
    FAIL() << "every group of step " << step << " was visited before";
  }
};

TEST_F(FailingExperts, AreTriedAgainEachFromItsOwnStepWithTheBitsOfATrainingWithoutFailure) {
  std::vector<Trainee> undisturbed = experts(true), first = experts(false), again = experts(true);
  train(undisturbed, "undisturbed");
  const auto outcomes = train(first, "failing");
  EXPECT_NE(outcomes[0].failure.find("at step 2,"), std::string::npos) << outcomes[0].failure;
  EXPECT_NE(outcomes[1].failure.find("at step 6,"), std::string::npos) << outcomes[1].failure;
  const auto after = train(again, "failing");
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(after[i].failure, "");
    EXPECT_GT(after[i].best_step, 0);
    EXPECT_TRUE(all_of(again[i].model).equal(all_of(undisturbed[i].model))) << undisturbed[i].name;
  }
}

TEST_F(FailingExperts, ContinueASecondTryThatWasPaused) {
  std::vector<Trainee> undisturbed = experts(true), first = experts(false), second = experts(true), third = experts(true);
  train(undisturbed, "undisturbed");
  train(first, "paused");
  int looks = 0;
  progress_.pause_asked = [&] { return ++looks == 3; };
  EXPECT_THROW(train(second, "paused"), Paused);
  progress_ = {};
  ASSERT_TRUE(find_checkpoint(*folder_ / "paused", "key"));
  EXPECT_EQ(find_checkpoint(*folder_ / "paused", "key")->step(), 4) << "not the end of the first try";
  train(third, "paused");
  for (std::size_t i = 0; i < 3; ++i) EXPECT_TRUE(all_of(third[i].model).equal(all_of(undisturbed[i].model))) << i;
}

TEST_F(TinyTraining, RefusesAWarmUpThatTakesAllSteps) {
  train_.steps_max = 0, train_.epochs_max = 1, train_.groups_per_step = 6;
  const std::int64_t steps = (epoch_groups(*store_, trainee("x").training) + 5) / 6;
  train_.warmup_steps = steps;
  std::vector<Trainee> one = {trainee("x")};
  EXPECT_NE(test::message_of<ConfigError>([&] { train(one); }).find(fmt::format("nothing of its {} steps", steps)),
            std::string::npos);
  train_.warmup_steps = steps - 1;
  EXPECT_NO_THROW(train(one));
}

TEST_F(TinyTraining, SavesATaskThatPausesAndContinuesWithTheSameBits) {
  const at::Tensor whole = trained("x");
  int looks = 0;
  progress_.pause_asked = [&] { return ++looks == 5; };
  std::vector<Trainee> first = {trainee("x")}, again = {trainee("x")};
  EXPECT_THROW(train(first, "pause"), Paused);
  progress_ = {};
  EXPECT_EQ(find_checkpoint(*folder_ / "pause", "key")->step(), 4);
  train(again, "pause");
  EXPECT_TRUE(all_of(again[0].model).equal(whole));
}

TEST_F(TinyTraining, DoesNotPauseWhereItCannotSaveAndSaysSoWhenItStops) {
  const at::Tensor whole = trained("x");
  std::ofstream(*folder_ / "full") << "a file where the checkpoints' folder should be";
  bool asked_to = true;
  std::vector<std::string> refused;
  progress_.pause_asked = [&] { return asked_to; };
  progress_.pause_refused = [&](const std::string& why) { refused.push_back(why), asked_to = false; };
  std::vector<Trainee> asked = {trainee("x")}, stopped = {trainee("x")};
  train(asked, "full");
  EXPECT_TRUE(all_of(asked[0].model).equal(whole));
  ASSERT_EQ(refused.size(), 1U) << "the coordinator must not believe that it pauses";
  EXPECT_NE(refused[0].find("could not be saved"), std::string::npos) << refused[0];
  progress_ = {};
  request_stop(SIGTERM);
  const std::string said = test::message_of<Stopped>([&] { train(stopped, "full"); });
  request_stop(0);
  EXPECT_NE(said.find("could not be saved"), std::string::npos) << said;
  EXPECT_EQ(said.find("is saved"), std::string::npos) << said;
}

TEST_F(TinyTraining, SavesTheStepOnASignalDuringAnEvaluationAndEvaluatesLater) {
  train_.eval_every_steps = 1;
  const at::Tensor whole = trained("x");
  int looks = 0;
  progress_.doing = [&](const std::string& what) {  // called at every report, so the next check for a signal is in an evaluation
    if (what == "step 4" && ++looks == 2) request_stop(SIGTERM);
  };
  std::vector<Trainee> first = {trainee("x")}, again = {trainee("x")};
  EXPECT_THROW(train(first, "stopped"), Stopped);
  request_stop(0);
  progress_ = {};
  const std::string before = read_file(*folder_ / "stopped" / "metrics.jsonl");
  ASSERT_TRUE(find_checkpoint(*folder_ / "stopped", "key"));
  EXPECT_EQ(find_checkpoint(*folder_ / "stopped", "key")->step(), 5);
  train(again, "stopped");
  EXPECT_TRUE(all_of(again[0].model).equal(whole));
  const std::string lines = read_file(*folder_ / "stopped" / "metrics.jsonl");
  EXPECT_EQ(std::ranges::count(lines, '\n'), 13) << "every evaluation once";
  EXPECT_EQ(std::ranges::count(before, '\n'), 5);
}

TEST_F(TinyTraining, TrainsAnExpertAfterAnotherAsAlone) {  // an expert must not start from the one trained before it
  for (const bool all : {false, true}) {
    const at::Tensor alone = trained("b", all);
    const at::Tensor before = backbone_->weights().flat.clone();
    EXPECT_FALSE(trained("a", all).equal(alone)) << "experts with different names must differ";
    EXPECT_TRUE(backbone_->weights().flat.equal(before));
    EXPECT_TRUE(trained("b", all).equal(alone)) << (all ? "all weights" : "adapter");
  }
}

TEST_F(TinyTraining, ContinuesWhenMetricsCannotBeWritten) {
  const at::Tensor undisturbed = trained("x");
  fs::create_directories(*folder_ / "x" / "metrics.jsonl" / "in the way");
  EXPECT_TRUE(trained("x").equal(undisturbed));
}

TEST_F(TinyTraining, KeepsTheBestWeightsAndStopsWhenPatienceIsOver) {
  train_.lr = 0.3;  // far too large, so the model soon gets worse
  train_.steps_max = 200;
  train_.eval_every_steps = 2;
  train_.patience = 3;
  std::vector<Trainee> one = {trainee("x")};
  const TrainOutcome outcome = train(one).front();
  EXPECT_LT(outcome.steps, 200);
  const auto group = comm::single();
  TrunkCache trunks(0);
  const auto figures =
      pair_figures(GroupScorer{*store_, 300, trunks, *group}.rewards(one[0].model, one[0].validation), one[0].validation);
  EXPECT_DOUBLE_EQ(figures.accuracy, outcome.accuracy);
}

TEST_F(TinyTraining, RestartsPatienceWhenAccuracyRisesOrLossFalls) {  // docs/adr/0011
  train_.steps_max = 60;
  train_.eval_every_steps = 1;
  train_.patience = 2;
  int matters = 0;
  for (const double lr : {0.1, 0.05, 0.03, 0.02, 0.01}) {
    train_.lr = lr;
    std::vector<Trainee> one = {trainee("x")};
    const std::int64_t stopped = train(one).front().steps;
    std::ifstream lines(*folder_ / "none" / "metrics.jsonl");
    double best = -1, best_loss = 0, lowest = 1e9;
    std::int64_t waited = 0, by_accuracy_alone = 0, expected = 60, last = 0;
    for (std::string line; std::getline(lines, line);) {
      const auto entry = nlohmann::json::parse(line);
      const double accuracy = entry.at("validation_accuracy"), loss = entry.at("validation_loss");
      last = entry.at("step");
      const bool better = accuracy > best || (accuracy == best && loss < best_loss);
      if (better) {
        best = accuracy;
        best_loss = loss;
      }
      waited = better || loss < lowest ? 0 : waited + 1;
      by_accuracy_alone = better ? 0 : by_accuracy_alone + 1;
      if (by_accuracy_alone == 2 && waited < 2) ++matters;
      lowest = std::min(lowest, loss);
      if (waited == 2) expected = last;
    }
    EXPECT_EQ(stopped, expected) << lr;
    EXPECT_EQ(stopped, last) << lr;
  }
  EXPECT_GT(matters, 0) << "in no run does the rule differ from one that uses the accuracy alone";
}

TEST_F(TinyTraining, KeepsTheWeightsOfTheFigureThatSelects) {
  train_.lr = 0.1;
  train_.steps_max = 32;
  train_.eval_every_steps = 1;
  train_.patience = 1000;
  std::map<config::SelectBy, TrainOutcome> outcomes;
  for (const config::SelectBy by : {config::SelectBy::accuracy, config::SelectBy::loss}) {
    train_.select_by = by;
    std::vector<Trainee> one = {trainee("x")};
    outcomes[by] = train(one).front();
    std::ifstream lines(*folder_ / "none" / "metrics.jsonl");
    double highest = 0, lowest = 1e9;
    for (std::string line; std::getline(lines, line);) {
      const auto entry = nlohmann::json::parse(line);
      highest = std::max(highest, entry.at("validation_accuracy").get<double>());
      lowest = std::min(lowest, entry.at("validation_loss").get<double>());
    }
    const bool by_loss = by == config::SelectBy::loss;
    EXPECT_DOUBLE_EQ(by_loss ? outcomes[by].loss : outcomes[by].accuracy, by_loss ? lowest : highest);
    const auto group = comm::single();
    TrunkCache trunks(0);
    const GroupScorer scorer{*store_, 300, trunks, *group};
    EXPECT_NEAR(pair_figures(scorer.rewards(one[0].model, one[0].validation), one[0].validation).loss, outcomes[by].loss, 1e-5);
  }
  // Both may choose the same step of one training, so that a few are looked at.
  bool differ = false;
  for (const std::int64_t steps : {4, 8, 12, 16, 20, 24, 32, 48}) {
    train_.steps_max = steps;
    for (auto& [by, outcome] : outcomes) {
      train_.select_by = by;
      std::vector<Trainee> one = {trainee("x")};
      outcome = train(one).front();
    }
    differ = differ || outcomes[config::SelectBy::accuracy].best_step != outcomes[config::SelectBy::loss].best_step;
  }
  EXPECT_TRUE(differ);
}

TEST_F(TinyTraining, SelectsByLossWithTheSameBitsWhenResumed) {
  train_.select_by = config::SelectBy::loss;
  train_.lr = 0.05, train_.steps_max = 30, train_.eval_every_steps = 1, train_.patience = 3;
  const at::Tensor undisturbed = trained("x");
  EXPECT_TRUE(trained_with_pauses("x", 4).equal(undisturbed));
}

TEST_F(TinyTraining, KeepsAndEvaluatesTheAverageOfItsSteps) {
  train_.steps_max = 4, train_.eval_every_steps = 100, train_.checkpoint_every_s = 0, train_.checkpoints_kept = 10;
  const auto weights_after = [&](double decay, std::int64_t steps, const std::string& name) {
    train_.average_decay = decay, train_.steps_max = steps + 1;  // the last checkpoint is that of the step before the last
    std::vector<Trainee> one = {trainee("x")};
    fs::remove_all(*folder_ / "average");
    train(one, "average");
    return find_checkpoint(*folder_ / "average", "key")->load("0." + name + ".0").clone();
  };
  const at::Tensor first = weights_after(0, 1, "parameter"), second = weights_after(0, 2, "parameter"),
                   third = weights_after(0, 3, "parameter");
  EXPECT_TRUE(weights_after(0.5, 3, "parameter").equal(third)) << "the steps are those of a training without an average";
  const at::Tensor wanted = (third + second * 0.5 + first * 0.25) / 1.75;
  EXPECT_LT(relative_gap(weights_after(0.5, 3, "average"), wanted), 1e-6) << "and the weights of the start do not count";

  // At its end a training has the average of the step that it evaluated best, with that average's figures.
  train_.checkpoint_every_s = 1e9, train_.average_decay = 0.8, train_.steps_max = 12, train_.eval_every_steps = 4;
  std::vector<Trainee> one = {trainee("x")};
  const TrainOutcome outcome = train(one).front();
  const auto group = comm::single();
  TrunkCache trunks(0);
  const PairFigures figures =
      pair_figures(GroupScorer{*store_, 300, trunks, *group}.rewards(one[0].model, one[0].validation), one[0].validation);
  EXPECT_DOUBLE_EQ(figures.accuracy, outcome.accuracy);
  EXPECT_NEAR(figures.loss, outcome.loss, 1e-5);
  train_.average_decay = 0;
  EXPECT_FALSE(all_of(one[0].model).equal(trained("x")));
}

TEST_F(TinyTraining, AveragesWithTheSameBitsWhenResumed) {
  train_.average_decay = 0.9, train_.eval_every_steps = 1;
  for (const bool all : {false, true}) {
    const at::Tensor undisturbed = trained("x", all);
    EXPECT_TRUE(trained_with_pauses("x", 3, all).equal(undisturbed)) << (all ? "all weights" : "adapter");
  }
}

TEST_F(TinyTraining, SavesTheStepAndNotTheAverageOnASignalDuringAnEvaluation) {
  train_.average_decay = 0.9, train_.eval_every_steps = 1;
  const at::Tensor whole = trained("x");
  int looks = 0;
  progress_.doing = [&](const std::string& what) {
    if (what == "step 4" && ++looks == 2) request_stop(SIGTERM);
  };
  std::vector<Trainee> first = {trainee("x")}, again = {trainee("x")};
  EXPECT_THROW(train(first, "averaged"), Stopped);
  request_stop(0);
  progress_ = {};
  train(again, "averaged");
  fs::remove_all(*folder_ / "averaged");
  EXPECT_TRUE(all_of(again[0].model).equal(whole));
}

TEST_F(TinyTraining, LowersTheRateToZeroOverTheStepsOfItsEpochs) {
  train_.schedule = config::Schedule::linear;
  train_.steps_max = 0, train_.epochs_max = 1.5, train_.eval_every_steps = 1, train_.patience = 1000;
  std::vector<Trainee> one = {trainee("x")};
  const auto groups = static_cast<double>(one[0].training.size());
  const TrainOutcome outcome = train(one).front();
  EXPECT_EQ(outcome.steps, std::ceil(1.5 * groups / 6)) << "six groups a step";
  std::ifstream lines(*folder_ / "none" / "metrics.jsonl");
  std::vector<double> rates;
  for (std::string line; std::getline(lines, line);) rates.push_back(nlohmann::json::parse(line).at("lr"));
  ASSERT_EQ(std::ssize(rates), outcome.steps + 1);
  EXPECT_DOUBLE_EQ(rates.front(), train_.lr);
  EXPECT_DOUBLE_EQ(rates.back(), 0);
  EXPECT_NEAR(rates[rates.size() / 2], train_.lr / 2, train_.lr / static_cast<double>(outcome.steps));
}

TEST_F(TinyTraining, WideGapsAreSurerPreferencesThanNarrowOnes) {
  const std::string point = store_->labels().at(1).substr(store_->labels().at(1).find('/') + 1);
  const auto hard = labelled_groups(*store_, 0, Subset::test, point, config_);  // the split whose points have scores
  auto training = hard, validation = hard;
  soften_by_gaps(*store_, point, 0, training, validation);
  EXPECT_EQ(training.front().pairs, hard.front().pairs) << "0 turns it off";
  soften_by_gaps(*store_, point, 0.5, training, validation);
  double sum = 0;
  std::int64_t pairs = 0;
  const auto gap = [&](const LabelledGroup& group, const preference::Preference& pair) {
    const std::vector<double> scores = store_->scores(group.group, point);
    const auto of = [&](std::int32_t r) {
      return scores.at(static_cast<std::size_t>(group.responses.at(static_cast<std::size_t>(r))));
    };
    return of(pair.winner) - of(pair.loser);
  };
  for (const LabelledGroup& group : hard) {
    for (const preference::Preference& pair : group.pairs) sum += gap(group, pair), ++pairs;
  }
  std::set<float> targets;
  for (std::size_t g = 0; g < hard.size(); ++g) {
    for (std::size_t p = 0; p < hard[g].pairs.size(); ++p) {
      const preference::Preference& soft = training[g].pairs[p];
      EXPECT_NEAR(soft.target, 1 / (1 + std::exp(-gap(hard[g], soft) / (0.5 * sum / static_cast<double>(pairs)))), 1e-6);
      EXPECT_EQ(soft, validation[g].pairs[p]);
      targets.insert(soft.target);
    }
  }
  EXPECT_GT(targets.size(), 1U);
  training = {hard.front()};
  training[0].pairs[0].target = 0.9F;
  const auto stated = training[0].pairs;
  soften_by_gaps(*store_, "no such label", 0.5, training, validation);
  EXPECT_EQ(training[0].pairs, stated) << "pairs without scores stay as they are";
  soften_by_gaps(*store_, point, 0.5, training, validation);
  EXPECT_EQ(training[0].pairs[0].target, 0.9F) << "and so do shares of votes";
}

TEST_F(TinyTraining, DividesGroupsBetweenPhasesWithoutOverlap) {
  std::set<std::int64_t> seen;
  std::map<int, std::size_t> sizes;
  for (const Subset subset : {Subset::phase1, Subset::phase3, Subset::validation, Subset::test}) {
    const auto groups = groups_of(*store_, -1, subset, config_);
    sizes[static_cast<int>(subset)] = groups.size();
    for (const std::int64_t g : groups) EXPECT_TRUE(seen.insert(g).second) << "a group is in two subsets";
  }
  const auto train = groups_of(*store_, -1, Subset::train, config_).size();
  EXPECT_EQ(sizes[static_cast<int>(Subset::phase1)] + sizes[static_cast<int>(Subset::phase3)], train);
  EXPECT_NEAR(static_cast<double>(sizes[static_cast<int>(Subset::phase1)]) / static_cast<double>(train), 0.6, 0.15);
  EXPECT_GT(train, 2 * sizes[static_cast<int>(Subset::validation)]);
}

TEST_F(TinyTraining, VisitsAFileOfWeightTwoTwicePerEpoch) {
  data::IngestRequest request;
  request.data.inputs.push_back({(*folder_ / "synth.jsonl").string(), "auto", "", config::InputSplit::own, 2.0});
  request.renderer = test::word_renderer(kVocab);
  request.output = *folder_ / "twice.h5";
  data::ingest(request);
  const data::TokenStore store = data::TokenStore::open(request.output);
  const auto groups = labelled_groups(store, 0, Subset::train, preference::kOverall, config_);
  const std::vector<std::int32_t> copies = copies_of(store, groups);
  EXPECT_EQ(std::set<std::int32_t>(copies.begin(), copies.end()), std::set<std::int32_t>{2});
  GroupOrder order({1, 3}, 17, "x");
  ASSERT_EQ(order.epoch_length(), 4);
  for (std::int64_t pass = 0; pass < 3; ++pass) {
    std::int64_t second = 0;
    for (std::int64_t p = 0; p < 4; ++p) second += static_cast<std::int64_t>(order.at(4 * pass + p));
    EXPECT_EQ(second, 3);
  }
}

TEST_F(TinyTraining, AGapByLabelThinsThePairsOfThatLabelAlone) {
  const auto pairs = [&](std::string_view label) {  // of the split whose points have scores
    return count_pairs(labelled_groups(*store_, 0, Subset::test, label, config_));
  };
  const std::string point = store_->labels().at(1).substr(store_->labels().at(1).find('/') + 1);
  const std::int64_t overall = pairs(preference::kOverall), of_point = pairs(point);
  ASSERT_GT(of_point, 0) << point;
  config_.categories.resize(1);
  config_.categories[0].name = store_->categories()[0];
  config_.categories[0].score_gap_min.by_label = {{std::string(point), 1e9}};
  EXPECT_EQ(pairs(preference::kOverall), overall);
  EXPECT_LT(pairs(point), of_point);
}

TEST_F(TinyTraining, MakesOnePairOfEveryStrictOrder) {  // finds an index that is off by one, and a reward compared with itself
  for (const LabelledGroup& g : labelled_groups(*store_, 0, Subset::test, preference::kOverall, config_)) {
    std::set<std::pair<int, int>> unordered;
    for (const preference::Preference& p : g.pairs) {
      EXPECT_NE(p.winner, p.loser);
      EXPECT_TRUE(unordered.insert(std::minmax({p.winner, p.loser})).second);
    }
  }
}

}  // namespace
}  // namespace dmoerm::train
