// Loading checkpoints of other programs: whole, sharded, in half precision, and damaged.
#include "nn/weights.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cstring>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "nn/backbone.h"
#include "support/scratch.h"
#include "support/tiny_backbone.h"
#include "support/tiny_model_directory.h"

namespace dmoerm::nn {
namespace {

namespace fs = std::filesystem;
const std::string kUp = "layers.1.mlp.up_proj.weight";

class WeightsFolder : public test::Scratch {
 protected:
  WeightsFolder() : backbone_(test::tiny_backbone(50)) {
    for (const auto& [name, slot] : backbone_->weights().named()) tensors_.emplace_back(name, slot.clone());
  }

  at::Tensor& tensor(const std::string& name) {
    return std::ranges::find(tensors_, name, &std::pair<std::string, at::Tensor>::first)->second;
  }
  [[nodiscard]] at::Tensor load() const { return Weights::load(backbone_->spec(), directory_, test::test_device()).flat; }
  void save() const { nn::save_safetensors(directory_ / "model.safetensors", tensors_); }
  /// The message with which loading these tensors is refused.
  [[nodiscard]] std::string refusal() const {
    save();
    return test::message_of<DataError>([&] { (void)load(); });
  }

  std::shared_ptr<Backbone> backbone_;
  nn::NamedTensors tensors_;
};

TEST_F(WeightsFolder, ReadsWholeShardedAndPrefixedFilesAlike) {
  const at::Tensor& expected = backbone_->weights().flat;
  save();
  EXPECT_TRUE(load().equal(expected));
  for (auto& [name, slot] : tensors_) name.insert(0, "model.");
  tensors_.emplace_back("lm_head.weight", at::ones({50, 24}));  // belongs to another head and is not read
  save();
  EXPECT_TRUE(load().equal(expected));

  fs::remove(directory_ / "model.safetensors");
  nlohmann::json map;
  nn::NamedTensors parts[2];
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    parts[i % 2].push_back(tensors_[i]);
    map[tensors_[i].first] = i % 2 == 0 ? "a.safetensors" : "b.safetensors";
  }
  nn::save_safetensors(directory_ / "a.safetensors", parts[0]);
  nn::save_safetensors(directory_ / "b.safetensors", parts[1]);
  write_json_atomically(directory_ / "model.safetensors.index.json", {{"weight_map", map}});
  EXPECT_TRUE(load().equal(expected));
}

TEST_F(WeightsFolder, PrefersAWholeFileToAnIndexBesideIt) {
  save();
  write_json_atomically(directory_ / "model.safetensors.index.json", {{"weight_map", {{kUp, "gone.safetensors"}}}});
  EXPECT_TRUE(load().equal(backbone_->weights().flat));
}

TEST_F(WeightsFolder, ReadsBertNormsUnderTheirOldNames) {
  BackboneSpec spec = test::tiny_spec(50);
  spec.family = Family::bert;
  spec.kv_heads = spec.heads;
  spec.type_vocab = 2;
  spec.qkv_bias = spec.o_bias = spec.mlp_bias = true;
  backbone_ = test::random_backbone(spec);
  tensors_.clear();
  for (const auto& [name, slot] : backbone_->weights().named()) {
    std::string old = name;
    if (name.ends_with("LayerNorm.weight")) old = name.substr(0, name.size() - 6) + "gamma";
    if (name.ends_with("LayerNorm.bias")) old = name.substr(0, name.size() - 4) + "beta";
    tensors_.emplace_back("bert." + old, slot.clone());
  }
  save();
  EXPECT_TRUE(load().equal(backbone_->weights().flat));
}

TEST_F(WeightsFolder, ComparesSizesWithTheFileBeforeTakingMemory) {
  save();
  BackboneSpec spec = backbone_->spec();
  spec.width = std::int64_t{1} << 31;
  const auto refused = [&] { return test::message_of<DataError>([&] { (void)Weights::load(spec, directory_, at::kCPU); }); };
  EXPECT_NE(refused().find("has shape"), std::string::npos) << refused();
  spec.intermediate = spec.vocab = spec.width;
  EXPECT_NE(refused().find("too large"), std::string::npos) << refused();
}

TEST_F(WeightsFolder, ReadsHalfPrecisionExactly) {
  for (const auto type : {at::kBFloat16, at::kHalf}) {
    at::Tensor expected = backbone_->weights().clone().flat;
    for (auto& [name, slot] : tensors_) slot = slot.to(at::kFloat).to(type);
    expected = expected.to(type).to(at::kFloat);
    save();
    EXPECT_TRUE(load().equal(expected)) << c10::toString(type);
    EXPECT_FALSE(expected.equal(backbone_->weights().flat)) << "nothing was rounded, so the test checks nothing";
    for (std::size_t i = 0; i < tensors_.size(); ++i) tensors_[i].second = backbone_->weights().named()[i].second.clone();
  }
}

TEST_F(WeightsFolder, NamesAMissingExtraOrMisshapenTensorWithItsShapes) {
  tensor(kUp) = at::zeros({24, 32});
  std::string said = refusal();
  EXPECT_NE(said.find("tensor " + kUp + " has shape [24, 32], config.json requires [32, 24]"), std::string::npos) << said;
  std::erase_if(tensors_, [](const auto& t) { return t.first == kUp; });
  said = refusal();
  EXPECT_NE(said.find("tensor " + kUp + " (or model." + kUp + ") is missing: expected shape [32, 24]"), std::string::npos)
      << said;
  tensors_.emplace_back(kUp, at::zeros({32, 24}));
  tensors_.emplace_back("layers.1.mlp.gate.bias", at::zeros({32}));
  said = refusal();
  EXPECT_NE(said.find("tensor layers.1.mlp.gate.bias [32] is not part of this architecture"), std::string::npos) << said;
}

TEST_F(WeightsFolder, NamesATensorThatHoldsNaNOrInfinity) {
  for (const double value : {std::numeric_limits<double>::quiet_NaN(), -std::numeric_limits<double>::infinity()}) {
    tensor(kUp)[3][5] = value;
    const std::string said = refusal();
    EXPECT_NE(said.find("model.safetensors: tensor " + kUp + " holds NaN or infinity"), std::string::npos) << said;
  }
}

TEST_F(WeightsFolder, NamesATensorOfZeros) {
  tensor(kUp).zero_();
  const std::string said = refusal();
  EXPECT_NE(said.find("model.safetensors: tensor " + kUp + " holds nothing but zeros"), std::string::npos) << said;
}

TEST_F(WeightsFolder, HaveAsManyLayersAsTheConfigSays) {
  const auto refusal_of = [&](std::int64_t layers, std::int64_t wanted = 0) {
    BackboneSpec spec = backbone_->spec();
    spec.layers = layers;
    write_json_atomically(directory_ / "config.json", test::tiny_config(spec));
    return test::message_of<DataError>([&] { (void)Backbone::load(directory_, at::kCPU, wanted); });
  };
  save();
  EXPECT_EQ(refusal_of(2), "");
  EXPECT_EQ(refusal_of(2, 1), "") << "the user may use fewer";
  EXPECT_NE(refusal_of(1).find("num_hidden_layers 1, the weights have 2 layers"), std::string::npos) << refusal_of(1);
  EXPECT_NE(refusal_of(3).find("num_hidden_layers 3, the weights have 2 layers"), std::string::npos) << refusal_of(3);
  EXPECT_NE(refusal_of(3, 2), "") << "the files do not belong together";
  std::erase_if(tensors_, [](const auto& t) { return t.first.starts_with("layers.1."); });
  save();
  EXPECT_NE(refusal_of(2, 1), "") << "half a model";
}

TEST_F(WeightsFolder, RefusesAnotherArchitectureListingTheSupportedOnes) {
  save();
  write_json_atomically(directory_ / "config.json", {{"model_type", "gpt2"}});
  const std::string said = test::message_of<DataError>([&] { (void)Backbone::load(directory_, at::kCPU); });
  for (const char* name : {"gpt2", "llama", "mistral", "qwen2", "qwen3", "bert"})
    EXPECT_NE(said.find(name), std::string::npos) << name << " in " << said;
}

TEST_F(WeightsFolder, ReadsNamesThatWrappersHavePrefixed) {
  const at::Tensor& expected = backbone_->weights().flat;
  const nn::NamedTensors plain = tensors_;
  for (const char* prefix : {"_orig_mod.", "module.", "model.model.", "module.model.", "_orig_mod.model.",
                             "base_model.model.model.", "pretrained_model.model.", "backbone."}) {
    tensors_ = plain;
    for (auto& [name, slot] : tensors_) name.insert(0, prefix);
    save();
    EXPECT_TRUE(load().equal(expected)) << prefix;
  }
  tensors_ = plain;
  for (auto& [name, slot] : tensors_) {  // wrappers of single layers
    name = "model." + name;
    if (const auto at = name.find(".mlp."); at != std::string::npos) name.insert(at, "._orig_mod");
    if (const auto at = name.find(".self_attn."); at != std::string::npos) name.insert(at, "._checkpoint_wrapped_module");
  }
  tensors_.emplace_back("model._orig_mod.score.weight", at::ones({1, 24}));
  save();
  EXPECT_TRUE(load().equal(expected));
  tensors_.emplace_back("_orig_mod." + tensors_.front().first, at::ones({2}));
  EXPECT_NE(refusal().find(" are both embed_tokens.weight"), std::string::npos) << refusal();
}

TEST_F(WeightsFolder, SaysWhichNamesTheFilesHold) {
  for (auto& [name, slot] : tensors_) name = "decoder." + std::to_string(name.size()) + "." + name.substr(0, 3);
  tensors_.resize(1);
  EXPECT_NE(refusal().find("the files hold 1 tensors such as decoder."), std::string::npos) << refusal();
}

TEST_F(WeightsFolder, NeverTakesIntegersForWeights) {
  for (const auto type : {at::kChar, at::kByte, at::kInt, at::kLong, at::kBool}) {
    tensor(kUp) = at::ones({32, 24}).to(type);
    EXPECT_NE(refusal().find("tensor " + kUp + " holds numbers of type "), std::string::npos) << refusal();
  }
}

TEST_F(WeightsFolder, NamesEightBitFloatsAsQuantised) {
  tensor(kUp) = at::ones({32, 24}).to(at::kChar);
  save();
  std::string bytes = read_file(directory_ / "model.safetensors");
  const std::size_t at = bytes.find("\"I8\"");
  ASSERT_NE(at, std::string::npos);
  bytes.replace(at, 4, "\"F8_E4M3\"");
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), 8);
  length += 5;
  std::memcpy(bytes.data(), &length, 8);
  write_file_atomically(directory_ / "model.safetensors", bytes);
  const std::string said = test::message_of<DataError>([&] { (void)load(); });
  EXPECT_NE(said.find("F8_E4M3"), std::string::npos) << said;
  EXPECT_NE(said.find("quantised"), std::string::npos) << said;
}

TEST_F(WeightsFolder, NamesQuantisedAndUnmergedCheckpointsByTheirTensors) {
  const nn::NamedTensors plain = tensors_;
  for (const auto& [more, expected] :
       {std::pair("mlp.up_proj.qweight", "GPTQ or AWQ"), std::pair("mlp.up_proj.SCB", "bitsandbytes"),
        std::pair("mlp.up_proj.weight.quant_state.bitsandbytes__nf4", "bitsandbytes"),
        std::pair("mlp.up_proj.weight_scale_inv", "FP8"), std::pair("mlp.up_proj.weight_packed", "compressed-tensors"),
        std::pair("self_attn.q_proj.lora_A.default.weight", "merge it")}) {
    tensors_ = plain;
    tensors_.emplace_back(std::string("model.layers.0.") + more, at::ones({4}));
    EXPECT_NE(refusal().find(expected), std::string::npos) << more << ": " << refusal();
  }
}

}  // namespace
}  // namespace dmoerm::nn
