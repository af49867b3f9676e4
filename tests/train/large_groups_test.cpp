// Groups with more tokens than a pass may have: they are cut into portions, and train like a group that fits.
#include <fmt/format.h>

#include <cmath>
#include <fstream>

#include "support/thread_group.h"
#include "support/tiny_training.h"
#include "train/checkpoint.h"
#include "train/group_scorer.h"

namespace dmoerm::train {
namespace {

constexpr std::int64_t kSmall = 40, kLarge = 100000;  // tokens of a pass
constexpr data::PackingRule kCausal = data::PackingRule::causal;

double relative_gap(const at::Tensor& a, const at::Tensor& b) { return ((a - b).norm() / b.norm()).item<double>(); }

class LargeGroups : public TinyTraining {
 protected:
  LargeGroups() {
    train_.lora_dropout = 0;
    train_.max_grad_norm = 0;
    train_.center_rewards_coefficient = 0.1;
    train_.steps_max = 2;
    train_.eval_every_steps = 1;
  }

  /// A trainee whose adapter changes its states, so that the adapter's gradient has all its parts.
  Trainee learner(bool all = false) const {
    Trainee t = trainee("x", preference::kOverall, all);
    at::manual_seed(3);
    if (!all) t.model.adapter()->flat.copy_(at::randn(t.model.adapter()->flat.sizes()) * 0.1);
    return t;
  }

  std::vector<const LabelledGroup*> groups_of(const Trainee& t) const {
    std::vector<const LabelledGroup*> groups;
    for (const LabelledGroup& g : t.training) groups.push_back(&g);
    return groups;
  }

  /// Gradient of the first step. A large epsilon makes the first step of AdamW the gradient times lr / eps.
  at::Tensor gradient(Trainee t, std::int64_t micro_batch_tokens) {
    constexpr double kScale = 100;
    compute_.micro_batch_tokens = micro_batch_tokens;
    train_.eps = 1e8, train_.lr = kScale * train_.eps;
    train_.checkpoint_every_s = 0;
    fs::remove_all(*folder_ / "first");
    std::vector<Trainee> one = {std::move(t)};
    const at::Tensor before = all_of(one[0].model).clone();
    train(one, "first");
    const auto checkpoint = find_checkpoint(*folder_ / "first", "key", 1);
    std::vector<at::Tensor> parts;
    for (std::size_t p = 0; p < one[0].model.trained_slices().size(); ++p)
      parts.push_back(checkpoint->load(fmt::format("0.parameter.{}", p)).flatten());
    return (before - at::cat(parts).to(before.device())) / kScale;
  }

  /// Loss of the first step.
  double loss(Trainee t, std::int64_t micro_batch_tokens) {
    compute_.micro_batch_tokens = micro_batch_tokens;
    train_.steps_max = 1;
    std::vector<Trainee> one = {std::move(t)};
    train(one);
    train_.steps_max = 2;
    std::ifstream lines(*folder_ / "none" / "metrics.jsonl");
    nlohmann::json last;
    for (std::string line; std::getline(lines, line);) last = nlohmann::json::parse(line);
    return last.at("train_loss");
  }
};

TEST_F(LargeGroups, AreCutIntoPortionsThatFit) {
  const Trainee t = learner();
  for (const data::PackingRule rule : {kCausal, data::PackingRule::bidirectional}) {
    std::vector<std::pair<const LabelledGroup*, std::int32_t>> seen;
    std::size_t portions = 0;
    for (const MicroBatch& batch : cut_micro_batches(*store_, groups_of(t), rule, kSmall)) {
      if (batch.size() > 1 || batch.front().count > 1) {
        EXPECT_LE(tokens_of(*store_, batch, rule), kSmall);
      }
      portions += batch.front().whole() ? 0 : 1;
      EXPECT_TRUE(batch.front().whole() || batch.size() == 1);
      for (const Portion& portion : batch) {
        for (const std::int32_t r : portion.responses()) seen.emplace_back(portion.of, r);
      }
    }
    EXPECT_GT(portions, 4U);
    std::vector<std::pair<const LabelledGroup*, std::int32_t>> all;
    for (const LabelledGroup& g : t.training) {
      for (const std::int32_t r : g.responses) all.emplace_back(&g, r);
    }
    EXPECT_EQ(seen, all) << "every response once, in order";
  }
  const LabelledGroup& group = t.training.front();
  const data::TokenGroup texts = store_->group(group.group);
  const auto tokens = [&](std::size_t count) {
    return data::packed_tokens(texts, std::span(group.responses).first(count), kCausal);
  };
  ASSERT_EQ(group.responses.size(), 3U);
  const auto cut = cut_micro_batches(*store_, {&group, &group}, kCausal, tokens(2));
  ASSERT_EQ(cut.size(), 4U);
  EXPECT_EQ(cut[0].front().count, 2U) << "as many responses as fit";
  EXPECT_EQ(cut[1].front().first, 2U);
  EXPECT_EQ(tokens_of(*store_, cut[0], kCausal) + tokens_of(*store_, cut[1], kCausal), tokens(3) + std::ssize(texts.prefix))
      << "the prompt counts once a portion";
  EXPECT_EQ(cut_micro_batches(*store_, {&group, &group}, kCausal, tokens(3)).size(), 2U);
  EXPECT_EQ(cut_micro_batches(*store_, {&group, &group}, kCausal, 2 * tokens(3)).size(), 1U);
}

TEST_F(LargeGroups, HaveTheGradientOfOnePass) {
  for (const bool all : {false, true}) {
    for (const std::int64_t first_layer : {0, 1}) {
      first_layer_ = first_layer;
      const at::Tensor whole = gradient(learner(all), kLarge), cut = gradient(learner(all), kSmall);
      EXPECT_GT(whole.norm().item<double>(), 1e-3);
      EXPECT_LT(relative_gap(cut, whole), 1e-5) << (all ? "all weights" : "adapter") << " from layer " << first_layer;
    }
  }
  EXPECT_NEAR(loss(learner(), kSmall), loss(learner(), kLarge), 1e-6);
}

TEST_F(LargeGroups, HaveTheGradientOfTheirLossUnderDropout) {  // so both passes drop the same inputs
  train_.lora_dropout = 0.5;
  const at::Tensor g = gradient(learner(), kSmall);
  const auto square = g.square().sum().item<double>();
  const auto moved = [&](double distance) {
    Trainee t = learner();
    at::Tensor all = t.model.trained_slices().front();
    all.add_(g, distance / square);
    return loss(std::move(t), kSmall);
  };
  constexpr double kStep = 0.01;
  EXPECT_NEAR((moved(kStep) - moved(-kStep)) / (2 * kStep), 1.0, 0.02);
}

TEST_F(LargeGroups, EndWithTheSameBitsOnAnyNumberOfRanks) {
  train_.lora_dropout = 0.1, train_.steps_max = 6, train_.lr = 5e-3;
  compute_.micro_batch_tokens = kSmall;
  for (const bool all : {false, true}) {
    at::Tensor expected;
    for (const int ranks : {1, 2, 4}) {
      for (const bool shard : {false, true}) {
        train_.shard = shard;
        std::vector<std::vector<Trainee>> trainees;
        for (int r = 0; r < ranks; ++r) trainees.push_back({learner(all)});
        for (auto& own : trainees) own[0].validation = own[0].training;  // so that the first weights are not the best
        fs::remove_all(*folder_ / "ranks");
        std::vector<TrainOutcome> outcomes(static_cast<std::size_t>(ranks));
        test::on_ranks(ranks, [&](comm::Communicator& group) {
          const auto r = static_cast<std::size_t>(group.rank());
          outcomes[r] = train(group, trainees[r], "ranks").front();
        });
        EXPECT_GT(outcomes[0].best_step, 0);
        for (const auto& own : trainees) {
          if (!expected.defined()) expected = all_of(own[0].model);
          EXPECT_TRUE(all_of(own[0].model).equal(expected)) << ranks << " ranks, shard " << shard << ", all " << all;
        }
      }
    }
  }
}

TEST_F(LargeGroups, AreNamedWhenTheirLossIsNotFinite) {
  compute_.micro_batch_tokens = kSmall;
  std::vector<Trainee> one = {learner()};
  for (LabelledGroup& group : one[0].training) group.pairs.front().margin = std::numeric_limits<float>::infinity();
  EXPECT_NE(train(one)[0].failure.find(", group "), std::string::npos);
}

TEST_F(LargeGroups, HaveTheRewardsOfOnePass) {
  for (const std::int64_t first_layer : {0, 1}) {
    first_layer_ = first_layer;
    const Trainee t = learner();
    const auto alone = comm::single();
    TrunkCache trunks(1 << 20), others(0);
    const auto whole = GroupScorer{*store_, kLarge, trunks, *alone}.rewards(t.model, t.training),
               cut = GroupScorer{*store_, kSmall, others, *alone}.rewards(t.model, t.training);
    EXPECT_EQ(whole.first, cut.first);
    EXPECT_LT(relative_gap(at::tensor(at::ArrayRef<float>(cut.rewards)), at::tensor(at::ArrayRef<float>(whole.rewards))), 1e-5);
  }
}

}  // namespace
}  // namespace dmoerm::train
