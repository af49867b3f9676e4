// Backbones that are kept as masks over one vector of changes: the bits of whole ones, in memory that they share.
#include "nn/elected_changes.h"

#include <ATen/ATen.h>

#include <numeric>
#include <stdexcept>
#include <thread>

#include "base/error.h"
#include "nn/backbone.h"
#include "support/expert.h"
#include "support/scratch.h"
#include "support/tiny_backbone.h"

namespace dmoerm::nn {
namespace {

constexpr std::size_t kMasks = 3;

struct Kind {
  Family family;
  at::ScalarType dtype;
};

BackboneSpec spec_of(Family family) {
  BackboneSpec spec = test::tiny_spec(50);
  spec.family = family;
  spec.width = 20;  // rows of embeddings begin within a byte of a mask
  if (family == Family::qwen2) spec.qkv_bias = true;
  if (family != Family::bert) return spec;
  spec.width = 24, spec.kv_heads = spec.heads, spec.type_vocab = 2;
  spec.qkv_bias = spec.o_bias = spec.mlp_bias = true;
  return spec;
}

class ElectedChangesOf : public testing::WithParamInterface<Kind>, public test::Scratch {
 protected:
  void SetUp() override {
    const BackboneSpec spec = spec_of(GetParam().family);
    const auto before = test::random_backbone(spec);
    std::vector<std::shared_ptr<Backbone>> tuned;
    std::vector<const Weights*> all;
    for (std::size_t m = 0; m < kMasks; ++m) {
      tuned.push_back(test::random_backbone(spec));
      at::manual_seed(10 + m);
      tuned.back()->weights().flat.add_(at::randn_like(before->weights().flat) * 0.1);
      all.push_back(&tuned.back()->weights());
    }
    NamedTensors elected = elect(before->weights(), all), stored;
    for (const auto& [name, change] : elected) stored.emplace_back(name, change.to(GetParam().dtype));
    std::filesystem::create_directories(base());
    save_safetensors(base() / "model.safetensors", before->weights().clone(GetParam().dtype).named());
    save_safetensors(base() / kElectedFile, stored);
    for (std::size_t m = 0; m < kMasks; ++m) {
      std::filesystem::create_directories(folder(m));
      save_masked(folder(m), mask_of(before->weights(), elected, *all[m]), spec, {at::zeros({spec.width})}, "..");
    }
    pretrained_ = std::make_shared<Backbone>(spec, Weights::load(spec, base(), test::test_device(), GetParam().dtype));
    changes_ = ElectedChanges::load(base(), spec, {pretrained_, &pretrained_->weights()});
    for (std::size_t m = 0; m < kMasks; ++m) {
      masks_.push_back(MaskedWeights::load(folder(m), spec, changes_));
      masked_.push_back(std::make_shared<Backbone>(spec, masks_.back()));
      whole_.push_back(
          std::make_shared<Backbone>(spec, load_masked(spec, folder(m), test::test_device(), GetParam().dtype).value()));
    }
    adapter_ = std::make_unique<test::Expert>(spec, LoraSpec{4, 8.0, 0.0});
    adapter_->flat.copy_(at::randn(adapter_->flat.sizes()) * 0.1);
  }
  [[nodiscard]] std::filesystem::path base() const { return directory_ / "base"; }
  [[nodiscard]] std::filesystem::path folder(std::size_t mask) const { return base() / std::to_string(mask); }
  [[nodiscard]] const BackboneSpec& spec() const { return pretrained_->spec(); }

  /// Texts of the given lengths.
  [[nodiscard]] data::PackedBatch texts(const std::vector<std::size_t>& lengths) const {
    data::PackedBatch batch;
    for (const std::size_t length : lengths) {
      std::vector<std::int32_t> ids(length);
      std::iota(ids.begin(), ids.end(), static_cast<std::int32_t>(length % 7));
      data::append_sequence(batch, ids, pretrained_->packing());
    }
    return batch;
  }
  /// States of two texts under the adapter.
  [[nodiscard]] at::Tensor states(const Backbone& backbone) const {
    const data::PackedBatch batch = texts({20, 3});
    const AdapterRows rows{&adapter_->adapter, 0, batch.tokens(), 0, std::ssize(batch.responses), 0};
    return backbone.forward(batch, {&rows, 1}, nullptr);
  }
  std::shared_ptr<Backbone> pretrained_;
  std::shared_ptr<ElectedChanges> changes_;
  std::vector<std::shared_ptr<const MaskedWeights>> masks_;
  std::vector<std::shared_ptr<Backbone>> masked_, whole_;
  std::unique_ptr<test::Expert> adapter_;
};

TEST_P(ElectedChangesOf, GiveTheBitsOfWholeBackbonesInAnyOrder) {
  for (const std::size_t m : {0, 1, 2, 2, 0, 1, 0}) {
    EXPECT_TRUE(states(*masked_[m]).equal(states(*whole_[m]))) << m;
    EXPECT_TRUE(masked_[m]->hidden(texts({9, 14})).equal(whole_[m]->hidden(texts({9, 14})))) << m;
    const std::size_t next = (m + 1) % kMasks;  // its first layer alone takes the other's place
    EXPECT_TRUE(masked_[next]->trunk(texts({5}), 1).equal(whole_[next]->trunk(texts({5}), 1))) << m;
  }
  EXPECT_FALSE(states(*masked_[0]).equal(states(*masked_[1])));
  EXPECT_FALSE(states(*masked_[0]).equal(states(*pretrained_)));
}

TEST_P(ElectedChangesOf, TakeTheMemoryOfOneBackbonesLayersForAll) {
  const Weights& all = pretrained_->weights();
  const std::int64_t layers = all.slice(1).numel() + all.slice(2).numel();
  for (const auto& mask : masks_) {
    ASSERT_EQ(mask->layers().size(), 2U);
    for (std::size_t i = 0; i < 2; ++i)
      EXPECT_EQ(mask->layers()[i].up_w.const_data_ptr(), masks_[0]->layers()[i].up_w.const_data_ptr());
    EXPECT_LE(mask->outside_layers(spec()).flat.numel(), all.flat.numel() - layers - all.embed_tokens.numel());
  }
}

TEST_P(ElectedChangesOf, MakeALayerAgainOnlyAfterAnotherBackboneHadItsPlace) {
  const at::Tensor before = states(*masked_[0]);
  const at::Tensor in_place = masks_[0]->layers()[1].up_w;
  in_place.zero_();
  EXPECT_FALSE(states(*masked_[0]).equal(before)) << "the same backbone reads what is there";
  (void)masked_[1]->trunk(texts({5}), 1);
  EXPECT_FALSE(states(*masked_[0]).equal(before)) << "another one had the place of the first layer alone";
  (void)states(*masked_[1]);
  EXPECT_TRUE(states(*masked_[0]).equal(before));
}

TEST_P(ElectedChangesOf, TakeTurnsInPassesOfSeveralThreads) {
  constexpr int kRounds = 20;
  std::vector<at::Tensor> expected;
  for (const auto& backbone : whole_) expected.push_back(states(*backbone));
  std::vector<int> wrong(kMasks);
  std::vector<std::thread> threads;
  for (std::size_t m = 0; m < kMasks; ++m) {
    threads.emplace_back([&, m] {
      for (int round = 0; round < kRounds; ++round) wrong[m] += states(*masked_[m]).equal(expected[m]) ? 0 : 1;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(kMasks));
}

TEST_P(ElectedChangesOf, GiveTheBitsOfWholeBackbonesInInt8) {
  if (test::test_device().is_cuda() || GetParam().dtype != at::kFloat)
    GTEST_SKIP() << "int8 weights are made of float32 on the CPU";
  for (const BaseWeights weights : {BaseWeights::int8, BaseWeights::int8, BaseWeights::float32}) {
    for (std::size_t m = 0; m < kMasks; ++m) {
      masked_[m]->use(weights);
      whole_[m]->use(weights);
    }
    for (const std::size_t m : {0, 1, 0, 2}) EXPECT_TRUE(states(*masked_[m]).equal(states(*whole_[m]))) << m;
  }
}

TEST_P(ElectedChangesOf, KeepNoWholeWeightsToRead) {
  EXPECT_THROW((void)masked_[0]->weights(), std::logic_error);
  EXPECT_EQ(masked_[0]->dtype(), GetParam().dtype);
}

TEST_P(ElectedChangesOf, BelongToOnePretrainedModel) {
  EXPECT_EQ(MaskedWeights::load(base(), spec(), changes_), nullptr) << "the pretrained model is no mask";
  EXPECT_EQ(ElectedChanges::load(folder(0), spec(), {pretrained_, &pretrained_->weights()}), nullptr);
  std::filesystem::create_directories(directory_ / "other" / "0");
  std::filesystem::copy(folder(0) / "model.safetensors", directory_ / "other" / "0");
  EXPECT_EQ(MaskedWeights::load(directory_ / "other" / "0", spec(), changes_), nullptr) << "a mask over another model's changes";
  BackboneSpec wider = spec();
  wider.intermediate += 8;
  const std::string said = test::message_of<DataError>([&] { (void)MaskedWeights::load(folder(0), wider, changes_); });
  EXPECT_NE(said.find("copy the bundle again"), std::string::npos) << said;
}

INSTANTIATE_TEST_SUITE_P(Kinds, ElectedChangesOf,
                         testing::Values(Kind{Family::llama, at::kFloat}, Kind{Family::qwen2, at::kFloat},
                                         Kind{Family::bert, at::kFloat}, Kind{Family::llama, at::kBFloat16},
                                         Kind{Family::bert, at::kBFloat16}),
                         [](const auto& kind) {
                           const std::string family = kind.param.family == Family::llama   ? "Llama"
                                                      : kind.param.family == Family::qwen2 ? "Qwen2"
                                                                                           : "Bert";
                           return family + (kind.param.dtype == at::kFloat ? "Float32" : "Bfloat16");
                         });

}  // namespace
}  // namespace dmoerm::nn
