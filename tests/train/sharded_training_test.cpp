// Training all weights on several ranks: each rank holds moments, best weights and gradient sums whole, or a shard (ZeRO stage
// 2).
#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "support/thread_group.h"
#include "support/tiny_training.h"
#include "train/checkpoint.h"
#include "train/gradient_norm.h"

namespace dmoerm::train {
namespace {

class ShardedTraining : public TinyTraining {
 protected:
  ShardedTraining() {
    nn::BackboneSpec spec = test::tiny_spec(kVocab);
    spec.width = 64;  // large enough that a layer has several blocks of the norm
    spec.head_dim = 16;
    spec.intermediate = 160;
    spec.layers = 3;
    backbone_ = test::random_backbone(spec);
    compute_.micro_batch_tokens = 100;  // several micro batches per step
    train_.max_grad_norm = 0.02;
    train_.warmup_steps = 3;
    train_.schedule = config::Schedule::cosine;
    train_.lr = 2e-3;
  }

  struct End {
    at::Tensor weights;
    std::vector<TrainOutcome> outcomes;  // one for every rank
  };
  /// Validated on its training groups, so that the best weights are not the first ones.
  Trainee learner(bool all = true) const {
    Trainee t = trainee("x", preference::kOverall, all);
    t.validation = t.training;
    return t;
  }
  /// Train on one thread per rank; all ranks must end with the same weights.
  End train_on(int ranks, bool shard, const std::string& folder = "none") {
    train_.shard = shard;
    std::vector<std::vector<Trainee>> trainees;
    for (int r = 0; r < ranks; ++r) trainees.push_back({learner()});
    End end;
    end.outcomes.resize(static_cast<std::size_t>(ranks));
    test::on_ranks(ranks, [&](comm::Communicator& group) {
      const auto r = static_cast<std::size_t>(group.rank());
      end.outcomes[r] = train(group, trainees[r], folder).front();
    });
    for (const auto& own : trainees) {
      const at::Tensor weights = all_of(own[0].model);
      EXPECT_TRUE(!end.weights.defined() || weights.equal(end.weights)) << "ranks differ";
      end.weights = weights;
    }
    return end;
  }
  std::string metrics(const std::string& folder) const {
    std::string text;
    for (std::istringstream lines(read_file(*folder_ / folder / "metrics.jsonl")); std::getline(lines, line_);) {
      nlohmann::json line = nlohmann::json::parse(line_);
      line.erase("seconds");
      text += line.dump() + "\n";
    }
    return text;
  }
  mutable std::string line_;
};

TEST_F(ShardedTraining, GivesLossesNormsAndWeightsOfOneRankBitForBit) {
  const End one = train_on(1, false, "one");
  const std::string losses = metrics("one");
  EXPECT_GT(one.outcomes[0].best_step, 0);
  for (const int ranks : {1, 2, 4, 8}) {
    for (const bool shard : {false, true}) {
      const std::string folder = fmt::format("{}{}", ranks, shard);
      const End end = train_on(ranks, shard, folder);
      EXPECT_TRUE(end.weights.equal(one.weights)) << ranks << " ranks, shard " << shard;
      EXPECT_EQ(metrics(folder), losses) << ranks << " ranks, shard " << shard;
      fs::remove_all(*folder_ / folder);
    }
  }
  train_.max_grad_norm = 0;
  EXPECT_FALSE(train_on(1, false).weights.equal(one.weights));  // so clipping had an effect
}

TEST_F(ShardedTraining, AveragesItsStepsWithTheSameBitsOnAnyNumberOfRanks) {
  train_.average_decay = 0.9, train_.eval_every_steps = 1;
  const End one = train_on(1, false);
  for (const int ranks : {2, 4}) EXPECT_TRUE(train_on(ranks, true).weights.equal(one.weights)) << ranks;
  train_.average_decay = 0;
  EXPECT_FALSE(train_on(1, false).weights.equal(one.weights));
}

TEST_F(ShardedTraining, DecaysMatricesOnEveryRankAndNoNorm) {
  train_.steps_max = 4, train_.eval_every_steps = 1, train_.lr = 1e-2;
  const auto norms_and_rest = [&](const at::Tensor& weights) {
    std::vector<at::Tensor> norms, rest;
    const at::Tensor flat = weights.narrow(0, 0, backbone_->weights().flat.numel());
    std::int64_t begin = 0;
    for (std::size_t p = 0; p < backbone_->weights().slices(); ++p) {  // trained_slices() are in the order of the backward pass
      const at::Tensor slice = backbone_->weights().slice(p);
      for (const auto& [name, tensor] : backbone_->weights().named()) {
        const std::int64_t offset = tensor.storage_offset() - slice.storage_offset();
        if (offset < 0 || offset >= slice.numel()) continue;
        (name.find("norm") != std::string::npos ? norms : rest).push_back(flat.narrow(0, begin + offset, tensor.numel()));
      }
      begin += slice.numel();
    }
    return std::pair(at::cat(norms), at::cat(rest));
  };
  const auto [start_norms, start_rest] = norms_and_rest(all_of(learner().model));
  train_.lr = 1e-30;  // the gradient moves nothing
  train_.weight_decay = 1e28;
  const End one = train_on(1, false);
  const auto [norms, rest] = norms_and_rest(one.weights);
  EXPECT_TRUE(norms.equal(start_norms));
  ASSERT_GT(one.outcomes[0].best_step, 0);
  EXPECT_LT(rest.abs().max().item<double>(), 0.999 * start_rest.abs().max().item<double>());
  for (const int ranks : {2, 4}) EXPECT_TRUE(train_on(ranks, true).weights.equal(one.weights)) << ranks;
}

TEST_F(ShardedTraining, TakesTheMemoryThatTheFormulaGives) {
  const auto floats = [](double mib) { return mib * (1 << 20) / sizeof(float); };
  const auto n = static_cast<double>(backbone_->weights().flat.numel());
  double layer = 0, rest = 0;  // gradient buffers: two layers, embeddings and final norm, head
  for (std::size_t p = 0; p < backbone_->weights().slices(); ++p) {
    const bool is_layer = p >= 1 && p + 1 < backbone_->weights().slices();
    (is_layer ? layer : rest) = static_cast<double>(backbone_->weights().slice(p).numel()) + (is_layer ? 0 : rest);
  }
  rest += static_cast<double>(backbone_->spec().width);  // the head
  compute_.micro_batch_tokens = 100000;                  // one micro batch
  const double whole = floats(train_on(1, false).outcomes[0].state_mib);
  EXPECT_NEAR(whole, n + (2 + 1 + 1) * n + 2 * layer + rest, 0.005 * n);
  for (const int ranks : {2, 4}) {
    const End end = train_on(ranks, true);
    for (int r = 0; r < ranks; ++r) {
      double own = 0;  // about n / ranks
      for (std::size_t p = 0; p < backbone_->weights().slices(); ++p) {
        const auto bounds =
            comm::chunks_of_blocks(static_cast<std::size_t>(backbone_->weights().slice(p).numel()), ranks, kNormBlock);
        own += static_cast<double>(bounds[static_cast<std::size_t>(r) + 1] - bounds[static_cast<std::size_t>(r)]);
      }
      EXPECT_NEAR(own, n / ranks, 0.1 * n);
      EXPECT_NEAR(floats(end.outcomes[static_cast<std::size_t>(r)].state_mib), n + (2 + 1 + 1) * own + 2 * layer + rest,
                  0.005 * n);
    }
  }
}

TEST_F(ShardedTraining, FailsOnAllRanksTogetherWhenNotFinite) {
  train_.lr = 1e30;
  train_.max_grad_norm = 0;
  train_.warmup_steps = 0;
  const End end = train_on(4, true);
  for (const TrainOutcome& outcome : end.outcomes) {
    EXPECT_NE(outcome.failure.find("became NaN or infinite at step"), std::string::npos) << outcome.failure;
    EXPECT_EQ(outcome.failure, end.outcomes[0].failure);
  }
}

TEST_F(ShardedTraining, ResumesOnAnotherNumberOfRanks) {
  const End whole = train_on(1, false);
  train_.checkpoint_every_s = 0;  // after every step
  train_on(4, true, "resume");
  for (const auto& [ranks, shard] : {std::pair(2, true), std::pair(1, false), std::pair(4, true)}) {
    fs::remove_all(*folder_ / "again");
    fs::copy(*folder_ / "resume", *folder_ / "again");
    fs::remove(*folder_ / "again" / "checkpoint-11-3of4.json");  // as if a rank had been killed while writing the last checkpoint
    ASSERT_EQ(find_checkpoint(*folder_ / "again", "key")->step(), 10);
    EXPECT_TRUE(train_on(ranks, shard, "again").weights.equal(whole.weights)) << ranks << " ranks, shard " << shard;
  }
}

TEST_F(ShardedTraining, KeepsFloat32MastersInBfloat16WithTheSameBits) {
  const at::Tensor start = backbone_->weights().flat.clone();
  train_.lr = 2e-4;  // a step is less than half of the distance of two neighbours in bfloat16
  train_.schedule = config::Schedule::constant;
  const at::Tensor full = train_on(1, false).weights.narrow(0, 0, start.numel()) - start;
  backbone_ = std::make_shared<nn::Backbone>(backbone_->spec(), backbone_->weights().clone(at::kBFloat16));
  train_.checkpoint_every_s = 0;
  const End one = train_on(1, false, "one");
  const std::string losses = metrics("one");
  const at::Tensor half = one.weights.narrow(0, 0, start.numel()) - start.to(at::kBFloat16).to(at::kFloat);
  // Each weight is the nearest bfloat16 of its value in float32 training; without masters it would not have moved.
  const double along = (full * half).sum().item<double>() / full.square().sum().item<double>();
  EXPECT_NEAR(along, 1.0, 0.15);
  for (const auto& [ranks, shard] : {std::pair(2, false), std::pair(4, true)}) {
    const std::string folder = fmt::format("half{}", ranks);
    EXPECT_TRUE(train_on(ranks, shard, folder).weights.equal(one.weights)) << ranks << " ranks";
    EXPECT_EQ(metrics(folder), losses) << ranks << " ranks";
  }
  for (const auto& file : fs::directory_iterator(*folder_ / "half4")) {  // as if it had been killed after step 10
    const std::string name = file.path().filename();
    if (name.starts_with("checkpoint-12") || name.starts_with("checkpoint-11")) fs::remove(file.path());
  }
  ASSERT_EQ(find_checkpoint(*folder_ / "half4", "key")->step(), 10);
  EXPECT_TRUE(train_on(2, true, "half4").weights.equal(one.weights)) << "continued on two ranks";
}

TEST_F(ShardedTraining, ChangesNoBitByRecomputingLayers) {
  for (const bool all : {false, true}) {
    std::vector<std::vector<Trainee>> models;
    for (const bool recompute : {false, true}) {
      train_.gradient_checkpointing = recompute;
      models.push_back({learner(all)});
      EXPECT_GT(train(models.back()).front().best_step, 0);
    }
    EXPECT_TRUE(all_of(models[0][0].model).equal(all_of(models[1][0].model))) << (all ? "all weights" : "adapter with dropout");
    EXPECT_TRUE(models[0][0].model.backbone().weights().flat.equal(models[1][0].model.backbone().weights().flat));
  }
}

}  // namespace
}  // namespace dmoerm::train
