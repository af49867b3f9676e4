// What is checked of imported experts before a run starts.
#include "run/imported_experts.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>

#include "base/error.h"
#include "support/captured_log.h"
#include "support/foreign_adapter.h"
#include "support/scratch.h"
#include "support/tiny_model_directory.h"
#include "tokenizer/chat_template.h"
#include "tokenizer/tokenizer.h"

namespace dmoerm::run {
namespace {

namespace fs = std::filesystem;

class ImportedExperts : public test::Scratch {
 protected:
  ImportedExperts() : files_(test::ForeignFiles(test::tiny_spec(40)).add_all(2)) {
    test::write_tiny_model(directory_ / "pretrained", 40);
    config_.backbone.dir = (directory_ / "pretrained").string();
    config_.categories = {{"chat", {"tone"}, 0.0}};
    config_.categories[0].imported_experts = {{"tone", (directory_ / "adapter").string()}};
  }
  std::string check() {
    files_.write(config_.categories[0].imported_experts[0].dir);
    HashCache hashes(directory_ / "hashes.json");
    return check_imported_experts(config_, hashes).at("chat/tone");
  }
  std::string refusal() {
    return test::message_of<DataError>([&] { (void)check(); });
  }

  /// Moves the adapter into a bundle over the same base, whose manifest names the base instead of the adapter. @return the bundle
  fs::path move_into_bundle() {
    const fs::path bundle = directory_ / "bundle";
    test::write_tiny_model(bundle / "base", 40);
    write_json_atomically(bundle / "dmoerm.json", {{"categories", {{{"name", "story"}, {"base", "base"}}}}});
    config_.categories[0].imported_experts[0].dir = (bundle / "experts" / "story" / "tone").string();
    return bundle;
  }

  test::ForeignFiles files_;
  config::RunConfig config_;
};

TEST_F(ImportedExperts, AreSaidWithTheirShape) {
  const test::CapturedLog log;
  files_.tensor("base_model.model.score.bias") = at::full({1}, 0.5);
  EXPECT_EQ(check().size(), 64U);
  EXPECT_TRUE(log.has("chat/tone is not trained but taken over from " + (directory_ / "adapter").string() + " (rank 2, alpha 9"))
      << log.text();
  EXPECT_TRUE(log.has("the head's bias 0.5 is left out")) << log.text();
  EXPECT_FALSE(log.has("in every fold the same"));
  config_.folds = 2;
  (void)check();
  EXPECT_TRUE(log.has("in every fold the same"));
}

TEST_F(ImportedExperts, HaveAChecksumOfTheirFilesWhereverTheyLie) {
  const std::string first = check();
  config_.categories[0].imported_experts[0].dir = (directory_ / "copy").string();
  EXPECT_EQ(check(), first);
  files_.config["lora_alpha"] = 10;
  const std::string second = check();
  EXPECT_NE(second, first);
  files_.tensor("base_model.model.score.weight") = at::ones({1, files_.spec.width});
  EXPECT_NE(check(), second);
}

TEST_F(ImportedExperts, OfAnotherBaseAreRefused) {
  const fs::path other = directory_ / "other", same = directory_ / "same";
  test::write_tiny_model(same, 40);
  test::write_tiny_model(other, 40);
  nn::NamedTensors tensors;
  const auto backbone = test::tiny_backbone(40);
  for (const auto& [name, tensor] : backbone->weights().named()) tensors.emplace_back(name, tensor * 1.01);
  nn::save_safetensors(other / "model.safetensors", tensors);

  const test::CapturedLog log;
  for (const fs::path& base : {directory_ / "pretrained", same, fs::path("../same")}) {
    files_.config["base_model_name_or_path"] = base.string();
    EXPECT_EQ(refusal(), "") << base;
  }
  files_.config["base_model_name_or_path"] = other.string();
  const std::string said = refusal();
  EXPECT_EQ(said.find("categories.0.imported_experts.0 (chat/tone): "), 0U) << said;
  for (const std::string& part : {(directory_ / "adapter" / "adapter_config.json").string(), other.string(), config_.backbone.dir,
                                  std::string("whose tensor ")})
    EXPECT_NE(said.find(part), std::string::npos) << said;
  files_.config["base_model_name_or_path"] = "somebody/pretrained";
  EXPECT_EQ(refusal(), "");
  EXPECT_FALSE(log.has("rewards are worthless")) << log.text();
  EXPECT_TRUE(log.has("its base somebody/pretrained is not here, so its weights were not compared with backbone.dir"))
      << log.text();
  files_.config["base_model_name_or_path"] = "somebody/another-model";
  EXPECT_EQ(refusal(), "");
  EXPECT_TRUE(log.has("it adapts somebody/another-model, and there is no such directory")) << log.text();
}

TEST_F(ImportedExperts, OfABundleAreComparedWithItsBase) {
  const fs::path bundle = move_into_bundle();
  files_.config["base_model_name_or_path"] = nullptr;
  const test::CapturedLog log;
  EXPECT_EQ(refusal(), "");
  EXPECT_FALSE(log.has("rewards are worthless")) << log.text();
  nn::NamedTensors tuned;
  const auto backbone = test::tiny_backbone(40);
  for (const auto& [name, tensor] : backbone->weights().named()) tuned.emplace_back(name, tensor * 1.01);
  nn::save_safetensors(bundle / "base" / "model.safetensors", tuned);
  EXPECT_NE(refusal().find("it adapts " + fs::weakly_canonical(bundle / "base").string()), std::string::npos) << refusal();
  fs::remove(bundle / "dmoerm.json");
  EXPECT_EQ(refusal(), "");
  EXPECT_TRUE(log.has("it does not say which model it adapts")) << log.text();
}

TEST_F(ImportedExperts, OfABundleAreReadAsTheRunsHeads) {
  const fs::path bundle = move_into_bundle();
  EXPECT_EQ(refusal(), "");
  nlohmann::json base = test::tiny_config(test::tiny_spec(40));
  base[nn::kHeadReadsKey] = "mean";
  write_json_atomically(bundle / "base" / "config.json", base);
  EXPECT_NE(
      refusal().find("its head reads the mean of the response's states (dmoerm_head_reads in config.json), but the run's heads "
                     "one token's state (head.reads)"),
      std::string::npos)
      << refusal();
}

TEST_F(ImportedExperts, OfABundleWithAnotherTemplateAreWarnedAbout) {
  const fs::path bundle = directory_ / "bundle", tokenizer = fs::path(config_.backbone.dir) / "tokenizer.json";
  test::write_tiny_model(bundle / "base", 40);
  write_file_atomically(tokenizer, R"({"model": {"type": "BPE", "vocab": {}, "merges": []}})");
  config_.backbone.chat_template = "plain";
  config_.categories[0].imported_experts[0].dir = (bundle / "experts" / "story" / "tone").string();
  const auto tokens = tokenizer::Tokenizer::load(tokenizer);
  for (const std::string name : {"plain", "chatml"}) {
    const std::string sha256 = tokenizer::ChatTemplate(name, tokens, false).digest();
    write_json_atomically(bundle / "dmoerm.json", {{"categories", {{{"name", "story"}, {"base", "base"}}}},
                                                   {"template", {{"name", name}, {"sha256", sha256}}}});
    const test::CapturedLog log;
    EXPECT_EQ(refusal(), "");
    EXPECT_EQ(log.has("its bundle has the chat template chatml (SHA-256 " + sha256 + "), but backbone.chat_template is plain"),
              name == "chatml")
        << log.text();
  }
}

TEST_F(ImportedExperts, AreComparedWithABaseOnceForAllOfThem) {
  const fs::path same = directory_ / "same";
  test::write_tiny_model(same, 40);
  files_.config["base_model_name_or_path"] = same.string();
  config_.categories[0].points.emplace_back("fact");
  config_.categories[0].imported_experts.push_back({"fact", config_.categories[0].imported_experts[0].dir});
  const auto comparisons = [&] {
    const test::CapturedLog log;
    EXPECT_EQ(refusal(), "");
    const std::string text = log.text(), words = "compares the weights of " + same.string();
    int times = 0;
    for (std::size_t at = text.find(words); at != std::string::npos; at = text.find(words, at + 1)) ++times;
    return times;
  };
  EXPECT_EQ(comparisons(), 1);
}

TEST_F(ImportedExperts, AreComparedAgainOnlyAfterAChange) {
  ASSERT_EQ(setenv("DMOERM_HOME", (directory_ / "nowhere").c_str(), 1), 0);  // no cache of the user
  const fs::path same = directory_ / "same";
  test::write_tiny_model(same, 40);
  const auto age = [&] {
    for (const fs::path& model : {same, fs::path(config_.backbone.dir)}) {
      for (const auto& file : fs::directory_iterator(model))
        fs::last_write_time(file, fs::last_write_time(file) - std::chrono::hours(1));
    }
  };
  age();
  files_.config["base_model_name_or_path"] = same.string();
  files_.write(config_.categories[0].imported_experts[0].dir);
  HashCache hashes(directory_ / "kept.json");
  const auto compares = [&] {
    const test::CapturedLog log;
    (void)check_imported_experts(config_, hashes);
    return log.has("compares the weights of ");
  };
  EXPECT_TRUE(compares());
  EXPECT_FALSE(compares());
  age();
  EXPECT_TRUE(compares());
  unsetenv("DMOERM_HOME");
}

TEST_F(ImportedExperts, OfAModelWithoutCommonNamesAreWarnedAbout) {
  const fs::path renamed = directory_ / "renamed";
  test::write_tiny_model(renamed, 40);
  nn::NamedTensors tensors;
  const auto backbone = test::tiny_backbone(40);
  for (const auto& [name, tensor] : backbone->weights().named()) tensors.emplace_back("blocks." + name + ".w", tensor);
  nn::save_safetensors(renamed / "model.safetensors", tensors);
  files_.config["base_model_name_or_path"] = renamed.string();
  const test::CapturedLog log;
  EXPECT_EQ(refusal(), "");
  EXPECT_TRUE(log.has("which cannot be compared (")) << log.text();
  EXPECT_TRUE(log.has("have tensors of the same names in 0 of 2 layers alone")) << log.text();
}

TEST_F(ImportedExperts, OfAnUnknownBaseAreWarnedAboutWhereLayersAreLeftOut) {
  files_ = test::ForeignFiles(test::tiny_spec(40)).add_q(0, 2);
  files_.config["base_model_name_or_path"] = "somebody/pretrained";
  config_.backbone.layers = 1;
  const test::CapturedLog log;
  EXPECT_EQ(refusal(), "");
  EXPECT_TRUE(log.has("nor is it known after how many layers its head reads (the run's heads: 1, backbone.layers)"))
      << log.text();
}

TEST_F(ImportedExperts, AreNamedByTheirSettingWhenTheyAreRefused) {
  files_.write(directory_ / "adapter");
  config_.categories[0].points.emplace_back("fact");
  config_.categories[0].imported_experts.push_back({"fact", (directory_ / "nowhere").string()});
  HashCache hashes(directory_ / "hashes.json");
  try {
    (void)check_imported_experts(config_, hashes);
    FAIL() << "there is no such adapter";
  } catch (const DataError& e) {
    EXPECT_EQ(std::string(e.what()).find("categories.0.imported_experts.1 (chat/fact): "), 0U) << e.what();
    EXPECT_STREQ(e.code().text(), "not-an-adapter");
  }
}

TEST_F(ImportedExperts, OfAnotherShapeAreRefused) {
  files_ = test::ForeignFiles(test::tiny_spec(40)).add_all(2).add_q(2, 2);
  EXPECT_NE(refusal().find("adapts layer 2, counted from 0, but the backbone has 2 layers"), std::string::npos) << refusal();
  files_ = test::ForeignFiles(test::tiny_spec(40)).add_all(2);
  config_.backbone.layers = 1;
  EXPECT_NE(refusal().find("the backbone has 1 layers"), std::string::npos) << refusal();
  files_ = test::ForeignFiles(test::tiny_spec(40)).add_q(0, 2);  // fits, but its head was trained on the state after both layers
  files_.config["base_model_name_or_path"] = config_.backbone.dir;
  EXPECT_NE(refusal().find("reads the state after 2 layers, but the run's heads after 1"), std::string::npos) << refusal();
}

}  // namespace
}  // namespace dmoerm::run
