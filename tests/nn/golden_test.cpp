// Backbones, adapters and a training step against files computed by transformers and PEFT (tests/golden, see its README).
#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/files.h"
#include "nn/backbone.h"
#include "nn/pairwise_loss.h"
#include "nn/reward_model.h"
#include "support/expert.h"
#include "support/shared.h"
#include "support/test_device.h"

namespace dmoerm::nn {
namespace {

namespace fs = std::filesystem;

using test::golden;
constexpr double kTolerance = 2e-5;  // transformers disagrees with itself by 2e-6

std::vector<std::int32_t> ids_of(const at::Tensor& row, std::int64_t length) {
  const at::Tensor ids = row.narrow(0, 0, length).to(at::kInt).contiguous();
  return {ids.data_ptr<std::int32_t>(), ids.data_ptr<std::int32_t>() + length};
}

double largest_gap(const at::Tensor& a, const at::Tensor& b) { return (a.cpu() - b.cpu()).abs().max().item<double>(); }

class GoldenBackbone : public testing::TestWithParam<const char*> {};

TEST_P(GoldenBackbone, HiddenStatesAgreeWithTransformersInBothConfigSpellings) {
  const fs::path dir = golden(std::string("models/") + GetParam());
  DMOERM_NEEDS(dir);
  const auto io = nn::SafetensorsReader::open(dir / "io.safetensors");
  const at::Tensor ids = io.load("input_ids"), lengths = io.load("lengths"), expected = io.load("last_hidden_state");
  for (const char* config : {"config.json", "config_v4.json"}) {
    const BackboneSpec spec = parse_backbone_spec(read_json(dir / config), config);
    Weights weights = Weights::load(spec, dir, test::test_device());
    const bool has_types = io.has("token_type_ids");
    if (has_types) {  // the file's second token type starts at place 5; ours is always type 0, so the positions take the
                      // difference
      weights.embed_positions.narrow(0, 5, spec.max_positions - 5)
          .add_(weights.embed_types.select(0, 1) - weights.embed_types.select(0, 0));
    }
    const Backbone backbone(spec, std::move(weights));
    for (std::int64_t i = 0; i < ids.size(0); ++i) {
      const auto length = lengths[i].item<std::int64_t>();
      data::PackedBatch batch;
      data::append_sequence(batch, ids_of(ids[i], length), backbone.packing());
      EXPECT_LT(largest_gap(backbone.hidden(batch), expected[i].narrow(0, 0, length)), kTolerance)
          << GetParam() << " " << config << " sequence " << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Families, GoldenBackbone, testing::Values("llama", "llama3_rope", "qwen2", "qwen3", "mistral", "bert"),
                         [](const auto& family) { return std::string(family.param); });

class GoldenDecoder : public testing::TestWithParam<const char*> {};

TEST_P(GoldenDecoder, HiddenStatesInBfloat16AreNearThoseOfFloat32) {
  const fs::path dir = golden(std::string("models/") + GetParam());
  DMOERM_NEEDS(dir);
  const auto io = nn::SafetensorsReader::open(dir / "io.safetensors");
  const at::Tensor ids = io.load("input_ids"), lengths = io.load("lengths"), expected = io.load("last_hidden_state");
  const auto backbone = Backbone::load(dir, test::test_device(), 0, at::kBFloat16);
  for (std::int64_t i = 0; i < ids.size(0); ++i) {
    const auto length = lengths[i].item<std::int64_t>();
    data::PackedBatch batch;
    data::append_sequence(batch, ids_of(ids[i], length), data::PackingRule::causal);
    const at::Tensor reference = expected[i].narrow(0, 0, length), states = backbone->hidden(batch);
    EXPECT_LT(((states - reference).norm() / reference.norm()).item<double>(), 0.02) << "sequence " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Families, GoldenDecoder, testing::Values("llama", "llama3_rope", "qwen2", "qwen3", "mistral"),
                         [](const auto& family) { return std::string(family.param); });

TEST(GoldenLora, AdaptersOfPeftGiveThePeftHiddenStates) {
  const auto backbone = Backbone::load(golden("models/llama"), test::test_device());
  for (const char* kind : {"feature", "seqcls"}) {
    const auto io = nn::SafetensorsReader::open(golden(std::string("lora/") + kind) / "io.safetensors");
    const RewardModel expert = RewardModel::load(golden(std::string("lora/") + kind), {[&] { return backbone; }, {}});
    const at::Tensor ids = io.load("input_ids"), mask = io.load("attention_mask"), expected = io.load("last_hidden_state");
    data::PackedBatch batch;
    std::vector<std::int64_t> lengths;
    for (std::int64_t i = 0; i < ids.size(0); ++i) {
      lengths.push_back(mask[i].sum().item<std::int64_t>());
      data::append_sequence(batch, ids_of(ids[i], lengths.back()), data::PackingRule::causal);
    }
    const AdapterRows rows{expert.adapter(), 0, batch.tokens(), 0, ids.size(0), 0};
    const at::Tensor states = backbone->forward(batch, {&rows, 1}, nullptr);
    for (std::int64_t i = 0; i < ids.size(0); ++i) {
      EXPECT_LT(largest_gap(states[i], expected[i][lengths[static_cast<std::size_t>(i)] - 1]), kTolerance)
          << kind << " sequence " << i;
    }
    if (std::string(kind) == "seqcls") {
      const at::Tensor rewards = expert.rewards(states);
      EXPECT_LT(largest_gap(rewards, io.load("rewards").reshape({-1})), kTolerance);
    }
  }
}

/// Names in train/step.safetensors: PEFT's without "base_model.model.".
std::string step_name(const std::string& peft) { return peft.substr(std::string("base_model.model.").size()); }

TEST(GoldenStep, LossAndGradientsOfAPairwiseStepAgreeWithPeft) {
  const auto backbone = Backbone::load(golden("models/llama"), test::test_device());
  const auto step = nn::SafetensorsReader::open(golden("train/step.safetensors"));
  LoraSpec lora{4, 8.0, 0.0};
  const test::Expert expert(backbone->spec(), lora), gradient(backbone->spec(), lora);
  const auto named = [&](const test::Expert& e) {  // the head last
    NamedTensors all = e.adapter.named();
    all.emplace_back("base_model.model." + head_name(backbone->spec()), e.head.w_D.view({1, -1}));
    return all;
  };
  for (const auto& [name, slot] : named(expert)) slot.copy_(step.load("init." + step_name(name)));

  const at::Tensor ids = step.load("step0.input_ids"), mask = step.load("step0.attention_mask");
  data::PackedBatch batch;  // rows: chosen 0..2, rejected 3..5
  for (std::int64_t i = 0; i < ids.size(0); ++i)
    data::append_sequence(batch, ids_of(ids[i], mask[i].sum().item<std::int64_t>()), data::PackingRule::causal);
  const AdapterRows rows{&expert.adapter, 0, batch.tokens(), 0, ids.size(0), 0};
  ForwardState keep;
  const at::Tensor states = backbone->forward(batch, {&rows, 1}, &keep);
  const at::Tensor rewards = expert.head.rewards(states).cpu();
  EXPECT_LT(largest_gap(rewards, step.load("step0.rewards")), kTolerance);

  std::vector<float> push(6, 0.0F);
  const std::vector<preference::Preference> pairs = {{0, 3, 0}, {1, 4, 0}, {2, 5, 0}};
  const double loss = pairwise_loss({rewards.data_ptr<float>(), 6}, pairs, 1.0, push);
  EXPECT_NEAR(loss, step.load("step0.loss").item<double>(), 1e-6);
  const at::Tensor d_rewards = at::tensor(push).to(states.device());
  gradient.head.w_D.copy_(at::mv(states.t(), d_rewards));
  LoraAdapter sink = gradient.adapter;
  backbone->backward(at::outer(d_rewards, expert.head.w_D), keep, {nullptr, {&sink}});
  for (const auto& [name, slot] : named(gradient)) {
    EXPECT_LT(largest_gap(slot, step.load("step0.grad." + step_name(name))), 2e-6) << name;  // float32 against float64 is 5e-7
  }
}

}  // namespace
}  // namespace dmoerm::nn
