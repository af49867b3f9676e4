// An imported expert gives the rewards of the adapter folded into its base; what an expert cannot be is refused.
#include "hf/import_adapter.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "hf/compare_bases.h"
#include "hf/foreign_model.h"
#include "moe/model.h"
#include "nn/safetensors.h"
#include "support/foreign_adapter.h"
#include "support/scratch.h"
#include "support/tiny_model_directory.h"

namespace dmoerm::hf {
namespace {

namespace fs = std::filesystem;

class ImportAdapter : public test::Scratch {
 protected:
  ImportAdapter() { test::write_tiny_model(base(), 40); }
  [[nodiscard]] fs::path base() const { return directory_ / "base"; }
  [[nodiscard]] fs::path adapter() const { return directory_ / "adapter"; }

  /// Rewards of the adapter as `eval` reads it.
  [[nodiscard]] at::Tensor foreign_rewards() const {
    return ForeignModel::load(adapter(), base(), at::kCPU).rewards(texts_, limits_);
  }
  [[nodiscard]] at::Tensor rewards(const nn::RewardModel& model) const { return moe::rewards_of(model, texts_, limits_); }

  /// Compare the rewards of a written adapter with those of the expert that it becomes, before and after saving it.
  ImportedAdapter expect_same(const test::ForeignFiles& files) const {
    files.write(adapter());
    const ImportedAdapter imported = import_adapter(adapter(), spec_);
    const nn::RewardModel expert = imported.over(backbone_);
    const at::Tensor wanted = foreign_rewards() - imported.bias, got = rewards(expert);
    EXPECT_GT((wanted.max() - wanted.min()).item<double>(), 0.1) << "the texts have different rewards";
    EXPECT_TRUE(at::allclose(got, wanted, 1e-5, 1e-5)) << got << wanted;
    expert.save(directory_ / "expert");
    const nn::RewardModel again = nn::RewardModel::load(directory_ / "expert", {[this] { return backbone_; }, {}});
    EXPECT_TRUE(rewards(again).equal(got)) << "the task's files hold all of it";
    return imported;
  }
  [[nodiscard]] nn::BackboneSpec encoder_spec() const {
    nn::BackboneSpec encoder = spec_;
    encoder.family = nn::Family::bert;
    encoder.type_vocab = 2;
    encoder.kv_heads = encoder.heads;
    return encoder;
  }
  /// The refusal of a written adapter, with its code.
  [[nodiscard]] std::string refusal(const test::ForeignFiles& files) const {
    files.write(adapter());
    try {
      (void)import_adapter(adapter(), spec_);
    } catch (const DataError& e) {
      return std::string(e.what()) + " [" + e.code().text() + "]";
    }
    return "";
  }

  nn::BackboneSpec spec_ = test::tiny_spec(40);
  std::shared_ptr<nn::Backbone> backbone_ = test::tiny_backbone(40);
  moe::TokenTexts texts_{{1, 2, 3}, {{1, 2, 3, 4, 5}, {1, 2, 3, 9}, {1, 2, 3, 30, 31, 32}}};
  moe::ScoringLimits limits_{{.max_length = 64}};
};

TEST_F(ImportAdapter, GivesTheRewardsOfTheAdapter) {
  const ImportedAdapter imported = expect_same(test::ForeignFiles(spec_).add_all(4));
  EXPECT_EQ(imported.adapter.lora().rank, 4);
  EXPECT_DOUBLE_EQ(imported.adapter.lora().alpha, 9);
  const nn::RewardModel without(backbone_, imported.adapter.lora());
  at::Tensor w_D = without.head().w_D;
  w_D.copy_(imported.head.w_D);
  EXPECT_GT((rewards(without) - foreign_rewards()).abs().max().item<double>(), 1e-2) << "the adapter changes something";
}

TEST_F(ImportAdapter, TakesAnotherScaleRanksAndLayers) {
  test::ForeignFiles stabilised = test::ForeignFiles(spec_).add_all(4);
  stabilised.config["use_rslora"] = true;
  EXPECT_DOUBLE_EQ(expect_same(stabilised).adapter.lora().scale(), 9.0 / 2);

  test::ForeignFiles ranks = test::ForeignFiles(spec_).add_q(0, 2).add_v(0, 6).add_q(1, 1).add_v(1, 3);
  ranks.config["rank_pattern"] = {{"layers.0.self_attn.v_proj", 6}};
  EXPECT_EQ(expect_same(ranks).adapter.lora().rank, 6);

  EXPECT_EQ(expect_same(test::ForeignFiles(spec_).add_q(0, 3).add_q(1, 3)).adapter.lora().first_layer, 0) << "queries alone";
  EXPECT_EQ(expect_same(test::ForeignFiles(spec_).add_v(1, 3)).adapter.lora().first_layer, 1) << "values of the top layer";
  EXPECT_EQ(expect_same(test::ForeignFiles(spec_).add_q(0, 3)).adapter.lora().first_layer, 0) << "the bottom layer alone";
}

TEST_F(ImportAdapter, TakesHeadsOfOtherNamesAndLeavesABiasOut) {
  test::ForeignFiles biased = test::ForeignFiles(spec_).add_all(2);
  biased.tensor("base_model.model.score.bias") = at::full({1}, 0.75);
  EXPECT_EQ(expect_same(biased).bias, 0.75);

  test::ForeignFiles beside = test::ForeignFiles(spec_).add_all(2);
  beside.remove("base_model.model.score.weight");
  beside.write(adapter());
  nn::save_safetensors(adapter() / "value_head.safetensors", {{"v_head.summary.weight", at::randn({1, spec_.width})}});
  EXPECT_EQ(expect_same(beside).bias, 0) << "the file of LLaMA-Factory";
}

TEST_F(ImportAdapter, RefusesWhatAnExpertCannotBe) {
  const auto has = [&](const test::ForeignFiles& files, const std::string& words, const std::string& code) {
    const std::string said = refusal(files);
    EXPECT_NE(said.find(words), std::string::npos) << said;
    EXPECT_EQ(said.find(adapter().string()), 0U) << "it names the place: " << said;
    EXPECT_NE(said.find("[" + code + "]"), std::string::npos) << said;
  };
  const test::ForeignFiles good = test::ForeignFiles(spec_).add_all(2);
  test::ForeignFiles bad = good;
  bad.add("layers.1.mlp.up_proj", spec_.intermediate, spec_.width, 2);
  has(bad, "adapts layers.1.mlp.up_proj, but experts are adapters of queries and values", "adapter-unsupported");
  bad = good;
  bad.add_q(2, 2);
  has(bad, "adapts layer 2, counted from 0, but the backbone has 2 layers", "adapter-unsupported");
  bad = good;
  bad.add_q(1234567, 2);
  has(bad, "adapts layer 1234567, counted from 0, but the backbone has 2 layers", "adapter-unsupported");
  bad = good;
  bad.add("layers.0.self_attn.o_proj", spec_.width, spec_.q_width(), 2);
  has(bad, "layers.0.self_attn.o_proj", "adapter-unsupported");
  bad = test::ForeignFiles(spec_);
  has(bad, "it holds no matrices of LoRA", "adapter-unsupported");
  bad = test::ForeignFiles(spec_).add(nn::adapted_names(spec_, 0).q, spec_.q_width(), spec_.width + 8, 2);
  has(bad, "[2, 32] and", "tensor-shape-differs");
  bad = good;
  bad.remove("base_model.model.score.weight");
  has(bad, "the value head (tensor score.weight, or one called classifier.weight or value_head.weight) is missing",
      "head-missing");
  has(bad, "train it with task_type SEQ_CLS, which saves the head, or with modules_to_save [\"score\"]", "head-missing");
  bad = good;
  bad.tensor("base_model.model.score.weight") = at::randn({3, spec_.width});
  has(bad, "a classifier of 3 labels", "several-labels");
  bad = good;
  bad.remove("base_model.model.score.weight");
  bad.tensor("base_model.model.score.lora_A.weight") = at::randn({2, spec_.width});
  bad.tensor("base_model.model.score.lora_B.weight") = at::randn({1, 2});
  has(bad, "LoRA adapts the head score", "head-lost");
  bad = good;
  bad.tensor("base_model.model.model.embed_tokens.weight") = at::randn({40, spec_.width});
  has(bad, "it replaces model.embed_tokens.weight, which is not part of a head", "adapter-unsupported");
  bad = good;
  bad.tensor("base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight") = at::full({spec_.q_width(), 2}, std::nan(""));
  has(bad, "holds NaN or infinity", "tensor-not-finite");
  for (const auto& [key, value] : {std::pair<const char*, nlohmann::json>{"use_dora", true},
                                   {"peft_type", "IA3"},
                                   {"bias", "all"},
                                   {"r", 8},
                                   {"r", "x"},
                                   {"lora_alpha", -1},
                                   {"init_lora_weights", "pissa"},
                                   {"alpha_pattern", {{"q_proj", 3}}}}) {
    bad = good;
    bad.config[key] = value;
    has(bad, key, "adapter-unsupported");
  }
}

TEST_F(ImportAdapter, SaysWhatLiesInAPlaceThatIsNoAdapter) {
  const auto said = [&](const fs::path& place) {
    return test::message_of<DataError>([&] { (void)import_adapter(place, spec_); });
  };
  EXPECT_NE(said(base()).find("this is a whole model, but an expert is an adapter"), std::string::npos) << said(base());
  EXPECT_NE(said(directory_ / "nowhere").find("there is no such directory"), std::string::npos);
  EXPECT_NE(said(directory_).find("peft writes it with save_pretrained(DIR)"), std::string::npos);
}

TEST_F(ImportAdapter, TakesAnEncodersAdapterOfThisProgramAlone) {
  const nn::BackboneSpec encoder = encoder_spec();
  nn::RewardModel expert(test::random_backbone(encoder), {.rank = 2, .alpha = 3});
  expert.trained_slices().front().copy_(at::randn_like(expert.trained_slices().front()));
  expert.save(adapter());
  const ImportedAdapter imported = import_adapter(adapter(), encoder);
  EXPECT_TRUE(imported.adapter.flat.equal(expert.adapter()->flat));
  EXPECT_TRUE(imported.head.w_D.equal(expert.head().w_D));

  test::ForeignFiles foreign(encoder);
  foreign.tensors.clear(), foreign.config["r"] = 2;
  const std::string query = "base_model.model.bert." + nn::adapted_names(encoder, 0).q;
  foreign.tensor(query + ".lora_A.weight") = at::randn({2, encoder.width});
  foreign.tensor(query + ".lora_B.weight") = at::randn({encoder.q_width(), 2});
  foreign.tensor("base_model.model.classifier.weight") = at::randn({1, encoder.width});
  foreign.write(adapter());
  const std::string said = test::message_of<DataError>([&] { (void)import_adapter(adapter(), encoder); });
  EXPECT_NE(said.find("reads through a pooler with tanh"), std::string::npos) << said;
}

TEST_F(ImportAdapter, SaysThatTheHeadOfAnEncodersAdapterIsMissing) {
  const nn::BackboneSpec encoder = encoder_spec();
  test::ForeignFiles foreign(encoder);
  foreign.tensors.clear(), foreign.config["r"] = 2;
  const std::string query = "base_model.model.bert." + nn::adapted_names(encoder, 0).q;
  foreign.tensor(query + ".lora_A.weight") = at::randn({2, encoder.width});
  foreign.tensor(query + ".lora_B.weight") = at::randn({encoder.q_width(), 2});
  foreign.write(adapter());
  const auto expect_said = [&] {
    const std::string said = test::message_of<DataError>([&] { (void)import_adapter(adapter(), encoder); });
    EXPECT_NE(said.find(adapter().string() + ": the value head (tensor classifier.weight"), std::string::npos) << said;
    EXPECT_NE(said.find("only adapters that dmoerm wrote"), std::string::npos) << said;
    EXPECT_EQ(said.find("SEQ_CLS"), std::string::npos) << "that would be refused, too: " << said;
  };
  expect_said();
  nn::RewardModel(test::random_backbone(encoder), {.rank = 2, .alpha = 3}).save(adapter());
  nn::NamedTensors rest;
  {
    const auto whole = nn::SafetensorsReader::open(adapter() / "adapter_model.safetensors");
    for (const std::string& name : whole.names()) {
      if (name.find("classifier.") == std::string::npos) rest.emplace_back(name, whole.load(name));
    }
    nn::save_safetensors(directory_ / "headless.safetensors", rest, whole.metadata());
  }
  fs::rename(directory_ / "headless.safetensors", adapter() / "adapter_model.safetensors");
  expect_said();
}

TEST_F(ImportAdapter, TellsModelsApartByTheirWeights) {
  const fs::path same = directory_ / "same", other = directory_ / "other", halved = directory_ / "halved";
  test::write_tiny_model(same, 40);
  EXPECT_EQ(first_difference(base(), same, spec_), "");
  nn::NamedTensors tensors, rounded;
  for (const auto& [name, tensor] : backbone_->weights().named()) {
    tensors.emplace_back(name, tensor.clone());
    rounded.emplace_back(name, tensor.to(at::kBFloat16));
  }
  tensors.emplace_back("score.weight", at::ones({1, spec_.width}));
  for (const auto& [place, content] : {std::pair(halved, &rounded), std::pair(other, &tensors)}) {
    fs::create_directories(place);
    write_json_atomically(place / "config.json", test::tiny_config(spec_));
    nn::save_safetensors(place / "model.safetensors", *content);
  }
  EXPECT_EQ(first_difference(base(), halved, spec_), "") << "the same numbers, rounded";
  EXPECT_EQ(first_difference(base(), other, spec_), "") << "a head is no part of the base";
  tensors[3].second.flatten()[0].add_(1e-3);
  nn::save_safetensors(other / "model.safetensors", tensors);
  EXPECT_EQ(first_difference(other, base(), spec_), tensors[3].first);
}

TEST_F(ImportAdapter, DoesNotCallModelsAlikeThatHaveNoTensorOfALayerInCommon) {
  const fs::path other = directory_ / "other";
  test::write_tiny_model(other, 40);
  for (const std::string lost : {"layers.", "layers.1."}) {
    nn::NamedTensors tensors;
    for (const auto& [name, tensor] : backbone_->weights().named())
      tensors.emplace_back(name.starts_with(lost) ? "blocks" + name.substr(6) : name, tensor);
    nn::save_safetensors(other / "model.safetensors", tensors);
    const std::string said = test::message_of<DataError>([&] { (void)first_difference(base(), other, spec_); });
    EXPECT_NE(said.find(lost == "layers." ? "in 0 of 2 layers alone" : "in 1 of 2 layers alone"), std::string::npos) << said;
    EXPECT_NE(said.find(other.string()), std::string::npos) << said;
  }
}

}  // namespace
}  // namespace dmoerm::hf
