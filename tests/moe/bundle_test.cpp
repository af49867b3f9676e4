#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "base/error.h"
#include "base/files.h"
#include "base/summed_json.h"
#include "moe/aggregator_fit.h"
#include "moe/bundle_files.h"
#include "moe/load_bundle.h"
#include "moe/save_bundle.h"
#include "nn/int8_product.h"
#include "nn/masked_weights.h"
#include "support/captured_log.h"
#include "support/scratch.h"

namespace dmoerm::moe {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using Texts = std::vector<std::string>;

/// A tiny random BERT with a tokenizer of single letters, as a Hugging Face directory.
void write_model(const fs::path& directory) {
  fs::create_directories(directory);
  json vocab = {{"[PAD]", 0}, {"[UNK]", 1}, {"[CLS]", 2}, {"[SEP]", 3}};
  for (char c = 'a'; c <= 'z'; ++c) {
    vocab[std::string(1, c)] = vocab.size();
    vocab["##" + std::string(1, c)] = vocab.size();
  }
  json added = json::array();
  for (const char* t : {"[PAD]", "[UNK]", "[CLS]", "[SEP]"}) {
    added.push_back({{"id", vocab[t]},
                     {"content", t},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", true}});
  }
  write_json_atomically(directory / "tokenizer.json",
                        {{"version", "1.0"},
                         {"truncation", nullptr},
                         {"padding", nullptr},
                         {"added_tokens", added},
                         {"normalizer",
                          {{"type", "BertNormalizer"},
                           {"clean_text", true},
                           {"handle_chinese_chars", true},
                           {"strip_accents", nullptr},
                           {"lowercase", true}}},
                         {"pre_tokenizer", {{"type", "BertPreTokenizer"}}},
                         {"post_processor", {{"type", "BertProcessing"}, {"sep", {"[SEP]", 3}}, {"cls", {"[CLS]", 2}}}},
                         {"decoder", nullptr},
                         {"model",
                          {{"type", "WordPiece"},
                           {"unk_token", "[UNK]"},
                           {"continuing_subword_prefix", "##"},
                           {"max_input_chars_per_word", 100},
                           {"vocab", vocab}}}});
  write_json_atomically(directory / "config.json", {{"model_type", "bert"},
                                                    {"vocab_size", vocab.size()},
                                                    {"hidden_size", 16},
                                                    {"intermediate_size", 32},
                                                    {"num_hidden_layers", 2},
                                                    {"num_attention_heads", 2},
                                                    {"max_position_embeddings", 64},
                                                    {"type_vocab_size", 2},
                                                    {"pad_token_id", 0}});
  const nn::BackboneSpec spec = nn::read_backbone_spec(directory);
  nn::Weights weights(spec);
  at::manual_seed(5);
  for (const auto& [name, slot] : weights.named())
    slot.copy_(at::randn(slot.sizes()) * 0.3 + (name.find("LayerNorm.weight") != std::string::npos ? 1.0 : 0.0));
  nn::save_safetensors(directory / "model.safetensors", weights.named());
}

class BundleFolder : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("dmoerm_bundle_" + std::to_string(::getpid()));
    fs::remove_all(folder_);
    write_model(folder_ / "model");
    bundle_.model.backbone = nn::Backbone::load(folder_ / "model", at::kCPU);
    bundle_.tokenizer = std::make_shared<tokenizer::Tokenizer>(tokenizer::Tokenizer::load(folder_ / "model" / "tokenizer.json"));
    bundle_.chat_template = std::make_shared<tokenizer::ChatTemplate>("dmoerm", *bundle_.tokenizer, false);
    bundle_.model.limits = {{60, 8, bundle_.chat_template->head_tokens()}, 100};
    at::manual_seed(6);
    const at::Tensor x = at::randn({20, 16});
    std::vector<std::int32_t> labels;
    for (int i = 0; i < 20; ++i) labels.push_back(x[i][0].item<float>() > 0 ? 1 : 0);
    config::RouterConfig router;
    router.confidence_min = 0.0;
    router.keep_share = 1;
    bundle_.model.router = moe::CategoryRouter::fit({"chat", "code"}, {x, labels, {}}, {x, labels, {}}, router);
    for (const char* name : {"chat", "code"}) {
      Category category{name, {"p", "q"}, {random_expert(), random_expert()}, {}, {0.5, 2.0, 8}};
      moe::ExpertFeatures features{at::randn({8, 2, 16}), at::randn({8, 2}), {{0, 4, {}}, {4, 4, {}}}};
      category.aggregator = moe::mean_aggregator(features);
      bundle_.model.categories.push_back(category);
    }
    bundle_.model.fallback = random_expert();
    bundle_.provenance = {{"run", "test"}};
  }
  void TearDown() override { fs::remove_all(folder_); }

  nn::RewardModel random_expert(std::int64_t first_layer = 0) const {
    nn::RewardModel expert(bundle_.model.backbone, nn::LoraSpec{3, 6.0, 0.05, first_layer});
    at::Tensor all = expert.trained_slices()[0];
    all.copy_(at::randn(all.sizes()) * 0.2);
    return expert;
  }
  /// The same adapter and head over another backbone.
  static nn::RewardModel over(const std::shared_ptr<nn::Backbone>& backbone, const nn::RewardModel& expert) {
    nn::RewardModel other(backbone, expert.adapter()->lora());
    other.trained_slices()[0].copy_(expert.trained_slices()[0]);
    return other;
  }
  fs::path save() const {
    save_bundle(bundle_, folder_ / "bundle", folder_ / "model", {{{{"user", "hello there"}}, {"a good answer", "bad"}}});
    return folder_ / "bundle";
  }
  std::string refusal() const {
    try {
      load_bundle(folder_ / "bundle", at::kCPU);
    } catch (const DataError& e) {
      return e.what();
    }
    return "";
  }

  fs::path folder_;
  Bundle bundle_;
};

std::vector<double> rewards(const GroupScore& scored) {
  std::vector<double> values;
  for (const Score& s : scored.responses) values.push_back(s.reward);
  return values;
}

TEST_F(BundleFolder, ScoresTheSameAfterSaveAndLoad) {
  const Bundle loaded = load_bundle(save(), at::kCPU);
  for (const char* category : {"", "chat", "code"}) {
    const GroupScore before = score_texts(bundle_, {{"user", "why"}}, {"because", "so it is"}, category),
                     after = score_texts(loaded, {{"user", "why"}}, {"because", "so it is"}, category);
    EXPECT_EQ(rewards(before), rewards(after));
    EXPECT_EQ(before.responses[1].points, after.responses[1].points);
    EXPECT_EQ(before.route.probabilities, after.route.probabilities);
  }
  EXPECT_EQ(loaded.model.category("code").stats.std, 2.0);
}

TEST_F(BundleFolder, ReplacesAnOlderBundleAndNothingBesideIt) {
  save();
  write_file_atomically(folder_ / "bundle" / "left.txt", "of the older bundle");
  fs::create_directories(folder_ / "bundle.old");
  write_file_atomically(folder_ / "bundle.old" / "mine.txt", "somebody's");
  load_bundle(save(), at::kCPU);
  EXPECT_FALSE(fs::exists(folder_ / "bundle" / "left.txt"));
  EXPECT_EQ(read_file(folder_ / "bundle.old" / "mine.txt"), "somebody's");
  std::size_t entries = 0;
  for (const auto& entry : fs::directory_iterator(folder_)) entries += entry.exists() ? 1 : 0;
  EXPECT_EQ(entries, 3u);  // the model, the bundle and somebody's folder
}

TEST_F(BundleFolder, ScoresInACategoryWithoutTheRouter) {
  const TokenTexts texts{{5, 6, 7}, {{5, 6, 7, 8}, {5, 6, 7, 9, 10}}};
  std::map<std::string, GroupScore> routed;
  for (const char* category : {"chat", "code"}) routed[category] = bundle_.model.score(texts, category);
  const at::Tensor alone_N = rewards_of(bundle_.model.fallback, texts, bundle_.model.limits);
  bundle_.model.router = {};
  for (const auto& [category, scored] : routed) {
    const std::vector<Score> scores = bundle_.model.scores_in(category, texts);
    for (std::size_t i = 0; i < 2; ++i) {
      EXPECT_EQ(scores[i].reward, scored.responses[i].reward);
      EXPECT_EQ(scores[i].points, scored.responses[i].points);
    }
  }
  EXPECT_EQ(static_cast<float>(bundle_.model.scores_in("", texts)[1].reward), alone_N[1].item<float>());
}

TEST_F(BundleFolder, MixesTheRewardsOfTwoCategoriesThatAreNearlyAsLikely) {
  at::manual_seed(6);
  const at::Tensor x = at::randn({20, 16});
  config::RouterConfig config;
  config.confidence_min = 0.0, config.keep_share = 1, config.mix_top = 2, config.mix_gap = 1;
  std::vector<std::int32_t> labels(20);
  for (std::size_t i = 0; i < 20; ++i) labels[i] = static_cast<std::int32_t>(i % 2);
  bundle_.model.router = CategoryRouter::fit({"chat", "code"}, {x, labels, {}}, {x, labels, {}}, config);
  bundle_.model.categories[1].stats = {-1.0, 0.25, 8};
  const TokenTexts texts{{5, 6, 7}, {{5, 6, 7, 8}, {5, 6, 7, 9, 10}}};
  const GroupScore mixed = bundle_.model.score(texts);
  ASSERT_GE(mixed.route.second, 0);
  const double share = mixed.route.second_share;
  EXPECT_GT(share, 0);
  EXPECT_LE(share, 0.5);
  const Category &first = bundle_.model.category(mixed.category),
                 &second = bundle_.model.categories[static_cast<std::size_t>(mixed.route.second)];
  EXPECT_NE(&first, &second);
  const std::vector<Score> own = bundle_.model.scores_in(first.name, texts), others = bundle_.model.scores_in(second.name, texts);
  for (std::size_t i = 0; i < 2; ++i) {
    const double standard = (others[i].reward - second.stats.mean) / second.stats.std;
    EXPECT_NEAR(mixed.responses[i].reward, (1 - share) * own[i].reward + share * (first.stats.mean + first.stats.std * standard),
                1e-9);
    double sum = mixed.responses[i].second.value();
    for (const double part : mixed.responses[i].contributions) sum += part;
    EXPECT_NEAR(sum, mixed.responses[i].reward, 1e-5) << "the parts add up";
    ASSERT_EQ(mixed.responses[i].second_contributions.size(), 2U);
    double of_second = share * at_scale_of(first.stats, 0, second.stats);
    for (const double part : mixed.responses[i].second_contributions) of_second += part;
    EXPECT_NEAR(of_second, mixed.responses[i].second.value(), 1e-5)
        << "and those of the second category, at the first one's scale";
    EXPECT_EQ(mixed.responses[i].points, own[i].points);
  }
  const GroupScore asked = bundle_.model.score(texts, first.name);
  EXPECT_EQ(asked.route.second, -1);
  EXPECT_EQ(rewards(asked), (std::vector<double>{own[0].reward, own[1].reward})) << "a category that is asked for scores alone";
  const std::vector<ScoreCall> calls = {{&texts, "code"}, {&texts, ""}, {&texts, "chat"}};
  EXPECT_EQ(rewards(bundle_.model.score(calls)[1]), rewards(mixed));

  const Bundle loaded = load_bundle(save(), at::kCPU);
  EXPECT_EQ(rewards(loaded.model.score(texts)), rewards(mixed));
  EXPECT_EQ(read_json(folder_ / "bundle" / "dmoerm.json").at("schema_version"), 4) << "an older program would not mix";
}

TEST_F(BundleFolder, KeepsAndLoadsBfloat16) {
  const GroupScore in_float = score_texts(bundle_, {{"user", "why"}}, {"because", "so it is"}, "chat");
  Model& model = bundle_.model;
  model.backbone = nn::Backbone::load(folder_ / "model", at::kCPU, 0, at::kBFloat16);
  for (Category& c : model.categories) {
    for (nn::RewardModel& expert : c.experts) expert = over(model.backbone, expert);
  }
  model.fallback = over(model.backbone, model.fallback);
  const GroupScore before = score_texts(bundle_, {{"user", "why"}}, {"because", "so it is"}, "chat");
  const Bundle loaded = load_bundle(save(), at::kCPU);
  EXPECT_EQ(loaded.model.backbone->dtype(), at::kBFloat16);
  EXPECT_THROW(load_bundle(folder_ / "bundle", at::kCPU, nn::BaseWeights::int8), ConfigError);
  EXPECT_EQ(read_json(folder_ / "bundle" / "base" / "config.json").at("dtype"), "bfloat16");
  EXPECT_EQ(rewards(score_texts(loaded, {{"user", "why"}}, {"because", "so it is"}, "chat")), rewards(before));
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_NEAR(rewards(before)[i], rewards(in_float)[i], 0.05);
    EXPECT_NE(rewards(before)[i], rewards(in_float)[i]);
  }
}

TEST_F(BundleFolder, WarnsOfFloat32OnAGpuBeforeItLoads) {
  const auto said_of = [&](at::Device device) {
    const test::CapturedLog log;
    try {
      load_bundle(folder_ / "bundle", device);
    } catch (const std::exception&) {  // a machine without a GPU says so after the warning
      EXPECT_TRUE(device.is_cuda());
    }
    return log.has("bundle: float32 on a GPU does without flash attention");
  };
  save();
  EXPECT_FALSE(said_of(at::kCPU));
  EXPECT_TRUE(said_of({at::kCUDA, 0}));
  json manifest = read_json(folder_ / "bundle" / kBundleManifest);
  manifest["dtype"] = "bfloat16";
  write_file_atomically(folder_ / "bundle" / kBundleManifest, manifest.dump());
  EXPECT_FALSE(said_of({at::kCUDA, 0}));
}

TEST_F(BundleFolder, ScoresNearlyTheSameWithInt8WeightsAndWarnsHowNear) {
  const std::shared_ptr<nn::Backbone> own = nn::Backbone::load(folder_ / "model", at::kCPU);
  bundle_.model.categories[1].base = nn::RewardModel(own);
  for (nn::RewardModel& expert : bundle_.model.categories[1].experts) expert = over(own, expert);
  save();
  test::CapturedLog log;
  const Bundle loaded = load_bundle(folder_ / "bundle", at::kCPU, nn::BaseWeights::int8);
  EXPECT_EQ(loaded.model.category("code").backbone().base_weights(), nn::BaseWeights::int8);
  ASSERT_TRUE(loaded.int8_drift);
  const json drift = loaded.int8_drift->to_json();
  EXPECT_EQ(drift["scores"], 6) << "two responses, routed and under two categories";
  EXPECT_GT(drift["largest"], 1e-5);
  EXPECT_LT(drift["largest"], 0.3);
  EXPECT_TRUE(log.has("int8 weights: on the golden texts " + loaded.int8_drift->text())) << log.text();
  EXPECT_EQ(log.has("int8 is not faster than float32"), !nn::int8_saves_no_time().empty()) << log.text();
  for (const char* category : {"chat", "code"}) {
    const auto before = rewards(score_texts(bundle_, {{"user", "why"}}, {"because", "so it is"}, category)),
               after = rewards(score_texts(loaded, {{"user", "why"}}, {"because", "so it is"}, category));
    for (std::size_t i = 0; i < 2; ++i) {
      EXPECT_NEAR(after[i], before[i], 0.3) << category;
      EXPECT_NE(after[i], before[i]) << category;
    }
  }
  EXPECT_FALSE(load_bundle(folder_ / "bundle", at::kCPU).int8_drift);
}

TEST_F(BundleFolder, ScoresAResponseIndependentlyOfTheOthers) {
  const std::vector<preference::Message> prompt = {{"user", "tell me something"}};
  const Texts texts = {"one thing", "another thing that is longer", "x", "the last of them"};
  const auto together = rewards(score_texts(bundle_, prompt, texts, "chat"));
  const auto backwards = rewards(score_texts(bundle_, prompt, Texts(texts.rbegin(), texts.rend()), "chat"));
  const auto thrice = rewards(score_texts(bundle_, prompt, {texts[1], texts[0], texts[1], texts[1]}, "chat"));
  for (std::size_t i = 0; i < texts.size(); ++i) {
    EXPECT_EQ(together[i], rewards(score_texts(bundle_, prompt, {texts[i]}, "chat"))[0]);
    EXPECT_EQ(together[i], backwards[texts.size() - 1 - i]);
  }
  EXPECT_EQ(thrice, (std::vector<double>{together[1], together[0], together[1], together[1]}));
  EXPECT_GT(std::abs(together[0] - together[1]), 1e-4);  // the scores differ
}

TEST_F(BundleFolder, ScoresPromptsOfManyCallersAtOnceAsOneByOne) {
  std::vector<TokenTexts> texts;
  for (const char* prompt : {"tell me something", "why", "hello there how are you", "tell me something", "x y z"})
    texts.push_back(tokenize(bundle_, {{"user", prompt}}, {"one thing", "another thing that is longer", std::string(400, 'e')}));
  texts[1].responses.resize(1);
  for (const std::int64_t batch_tokens : {1, 40, 4096}) {
    bundle_.model.limits.batch_tokens = batch_tokens;
    std::vector<ScoreCall> calls;
    for (std::size_t i = 0; i < texts.size(); ++i) calls.push_back({&texts[i], i == 0 ? "code" : i == 4 ? "chat" : ""});
    const std::vector<GroupScore> together = bundle_.model.score(calls);
    for (std::size_t i = 0; i < texts.size(); ++i) {
      const GroupScore alone = bundle_.model.score(texts[i], calls[i].category);
      EXPECT_EQ(rewards(together[i]), rewards(alone)) << i << " at " << batch_tokens;
      EXPECT_EQ(together[i].category, alone.category);
      EXPECT_EQ(together[i].route.probabilities, alone.route.probabilities);
      EXPECT_EQ(together[i].route.distance, alone.route.distance);
      EXPECT_EQ(together[i].responses.back().points, alone.responses.back().points);
      EXPECT_EQ(together[i].responses.back().cut_tokens, alone.responses.back().cut_tokens);
    }
  }
}

TEST_F(BundleFolder, AGateReadsTheSameOfAPromptWhoeverComputedIt) {
  Model& model = bundle_.model;
  for (Category& category : model.categories) {
    ExpertFeatures features{at::randn({8, 2, 16}), at::randn({8, 2}), {{0, 4, {}}, {4, 4, {}}}};
    features.prompts_GH = at::randn({2, 16});
    category.aggregator = fit_aggregator("gate", features, {}, {}, 3);
    category.aggregator.gate_w2 = at::randn_like(category.aggregator.gate_w2);  // so that the prompt counts
  }
  const std::shared_ptr<nn::Backbone> own =
      nn::Backbone::load(folder_ / "model", at::kCPU);  // of "code", which is not the router's
  own->weights().flat.add_(at::randn_like(own->weights().flat) * 0.1);
  for (nn::RewardModel& expert : model.categories[1].experts) expert = over(own, expert);
  std::vector<TokenTexts> texts;
  for (const char* prompt : {"tell me something", "why", "hello there how are you"})
    texts.push_back(tokenize(bundle_, {{"user", prompt}}, {"one thing", "another thing that is longer"}));
  for (const char* category : {"chat", "code"}) {
    std::vector<ScoreCall> calls;
    for (const TokenTexts& one : texts) calls.push_back({&one, category});
    const std::vector<GroupScore> together = model.score(calls);
    for (std::size_t t = 0; t < texts.size(); ++t) {
      const std::vector<Score> without_router = model.scores_in(category, texts[t]);
      const ExpertFeatures features = model.experts(model.category(category), texts[t]).experts;
      const at::Tensor from_features = model.aggregate(model.category(category), features);
      EXPECT_EQ(rewards(together[t]), rewards(model.score(texts[t], category))) << category << " beside others, prompt " << t;
      for (std::size_t i = 0; i < 2; ++i) {
        const Score& score = together[t].responses[i];
        EXPECT_EQ(score.reward, without_router[i].reward) << category << ", prompt " << t;
        EXPECT_EQ(static_cast<float>(score.reward), from_features[static_cast<std::int64_t>(i)].item<float>());
        EXPECT_NEAR(score.contributions.at(0) + score.contributions.at(1), score.reward, 1e-5);
      }
    }
    EXPECT_NE(together[0].responses[0].contributions, together[1].responses[0].contributions);
  }
}

/// Makes the manifest agree with a bundle's files again after a test has changed one.
void sum_again(const fs::path& bundle, json& manifest) {
  manifest["files"] = file_sums(bundle);
  write_summed_json(bundle / "dmoerm.json", manifest);
}

/// Makes masks of the backbones in some folders of a bundle, over one vector of changes, as `export --compress emr` does.
void make_masks(const fs::path& bundle, const std::vector<fs::path>& folders) {
  const nn::BackboneSpec spec = nn::read_backbone_spec(bundle / "base");
  const auto load = [&](const fs::path& folder) { return nn::Weights::load(spec, bundle / folder, at::kCPU); };
  const nn::Weights pretrained = load("base");
  std::vector<nn::Weights> tuned;
  std::vector<const nn::Weights*> all;
  for (const fs::path& folder : folders) tuned.push_back(load(folder));
  for (const nn::Weights& one : tuned) all.push_back(&one);
  const nn::NamedTensors elected = nn::elect(pretrained, all);
  nn::save_safetensors(bundle / "base" / nn::kElectedFile, elected);
  for (std::size_t i = 0; i < folders.size(); ++i) {
    nn::ValueHead head{at::zeros({spec.width})};
    nn::load_stored_head(nn::SafetensorsReader::open_model(bundle / folders[i]), "", spec, head);
    nn::save_masked(bundle / folders[i], nn::mask_of(pretrained, elected, tuned[i]), spec, head,
                    fs::path("base").lexically_relative(folders[i]).string());
  }
  json manifest = read_json(bundle / "dmoerm.json");
  manifest["schema_version"] = kBundleSchemaMasked;
  manifest["golden"] = json::array();  // those of the plain bundle
  sum_again(bundle, manifest);
}

TEST_F(BundleFolder, ScoresOverMasksAsOverWholeBackbonesAndHoldsThemOnce) {
  const auto own = [&] {
    const std::shared_ptr<nn::Backbone> backbone = nn::Backbone::load(folder_ / "model", at::kCPU);
    backbone->weights().flat.add_(at::randn_like(backbone->weights().flat) * 0.1);
    return backbone;
  };
  for (Category& category : bundle_.model.categories) {
    category.base = nn::RewardModel(own());
    for (nn::RewardModel& expert : category.experts) expert = over(category.base.shared_backbone(), expert);
  }
  bundle_.model.fallback = nn::RewardModel(own());
  at::Tensor head = bundle_.model.fallback.head().w_D;
  head.copy_(at::randn(head.sizes()));
  const fs::path bundle = save();
  make_masks(bundle, {"base/chat", "base/code", "single"});
  for (const nn::BaseWeights weights : {nn::BaseWeights::float32, nn::BaseWeights::int8}) {
    const Bundle whole = load_bundle(bundle, at::kCPU, weights, Backbones::whole),
                 masked = load_bundle(bundle, at::kCPU, weights);
    std::vector<TokenTexts> texts;
    for (const char* prompt : {"tell me something", "why", "hello there", "x y z"})
      texts.push_back(tokenize(whole, {{"user", prompt}}, {"one thing", "another thing that is longer"}));
    std::vector<ScoreCall> calls;
    for (const TokenTexts& own_texts : texts) {
      for (const char* category : {"chat", "", "code"}) calls.push_back({&own_texts, category});
    }
    const std::vector<GroupScore> together = masked.model.score(calls), expected = whole.model.score(calls);
    for (std::size_t i = 0; i < calls.size(); ++i) {
      EXPECT_EQ(rewards(together[i]), rewards(expected[i])) << i;
      EXPECT_EQ(together[i].responses[1].points, expected[i].responses[1].points) << i;
      EXPECT_EQ(rewards(masked.model.score(*calls[i].texts, calls[i].category)), rewards(expected[i])) << i << ", one by one";
      for (const char* one : {"chat", "", "code"}) {
        const auto scores = masked.model.scores_in(one, texts[0]), wanted = whole.model.scores_in(one, texts[0]);
        EXPECT_EQ(scores[0].reward, wanted[0].reward) << one;
      }
    }
    EXPECT_NE(rewards(expected[0]), rewards(score_texts(bundle_, {{"user", "tell me something"}},
                                                        {"one thing", "another thing that is longer"}, "chat")));
    EXPECT_NO_THROW((void)whole.model.category("chat").backbone().weights());
    EXPECT_THROW((void)masked.model.category("chat").backbone().weights(), std::logic_error) << "there are none";
    EXPECT_THROW((void)masked.model.fallback.backbone().weights(), std::logic_error);
  }
}

TEST_F(BundleFolder, SaysWhatLiesThereInsteadOfABundle) {
  EXPECT_NE(refusal().find("there is no such directory"), std::string::npos) << refusal();
  const auto said = [&](const char* place) {
    return test::message_of<DataError>([&] { load_bundle(folder_ / place, at::kCPU); });
  };
  EXPECT_NE(said("model").find("this is a Hugging Face model"), std::string::npos) << said("model");
  EXPECT_NE(said("").find("is this the bundle of a finished run?"), std::string::npos) << said("");
  save();
  EXPECT_NE(said("").find("did you mean " + (folder_ / "bundle").string()), std::string::npos) << said("");
  EXPECT_NE(said("bundle/experts/chat/p").find("this is a PEFT adapter"), std::string::npos);
}

TEST_F(BundleFolder, TellsRoundingFromDamageWhereExpertsHardlyDiffer) {
  for (Category& c : bundle_.model.categories) c.aggregator.reward_std_K.fill_(2e-4);
  const fs::path bundle = save();
  json manifest = read_json(bundle / "dmoerm.json");
  const json whole = manifest;
  for (json& item : manifest["golden"]) {  // what another processor's rounding makes of rewards and scores
    for (json& rewards : item["expert_rewards"]) {
      for (json& reward : rewards) reward = reward.get<double>() + 1e-6;
    }
    for (json& score : item["scores"]) score = score.get<double>() + 1e-6 / 2e-4;
  }
  sum_again(bundle, manifest);
  EXPECT_EQ(refusal(), "");
  manifest = whole;
  for (json& item : manifest["golden"]) item.erase("expert_rewards");  // as older versions wrote it
  sum_again(bundle, manifest);
  EXPECT_EQ(refusal(), "");
  manifest["golden"][1]["scores"][0] = manifest["golden"][1]["scores"][0].get<double>() + 1;
  sum_again(bundle, manifest);
  EXPECT_NE(refusal().find("golden score 0 (chat)"), std::string::npos) << refusal();

  manifest = whole;
  const fs::path file = bundle / "experts" / "chat" / "q" / "adapter_model.safetensors";
  const auto reader = nn::SafetensorsReader::open(file);
  nn::NamedTensors tensors;
  for (const std::string& name : reader.names()) tensors.emplace_back(name, reader.load(name));
  for (auto& [name, tensor] : tensors) {
    if (name.ends_with("classifier.weight")) tensor[0][3].neg_();
  }
  nn::save_safetensors(file, tensors, reader.metadata());
  sum_again(bundle, manifest);
  EXPECT_NE(refusal().find("golden reward 0 of expert 1 (chat)"), std::string::npos) << refusal();
}

TEST_F(BundleFolder, ScoresExpertsInOnePassAsInSeparatePasses) {
  const std::vector<preference::Message> prompt = {{"user", "tell me"}};
  const Texts texts = {"one thing", "another", "x"};
  const GroupScore shared = score_texts(bundle_, prompt, texts, "chat");
  bundle_.model.limits.batch_tokens = 1;  // a pass for each response and each expert
  const GroupScore alone = score_texts(bundle_, prompt, texts, "chat");
  for (std::size_t i = 0; i < texts.size(); ++i) {
    EXPECT_NEAR(shared.responses[i].reward, alone.responses[i].reward, 1e-5);
    for (const char* point : {"p", "q"})
      EXPECT_NEAR(shared.responses[i].points.at(point), alone.responses[i].points.at(point), 1e-5) << point;
    EXPECT_GT(std::abs(shared.responses[i].points.at("p") - shared.responses[i].points.at("q")), 1e-3);
  }
}

TEST_F(BundleFolder, ScoresFurtherModelsBesideTheExpertsAsAlone) {
  const Category& category = bundle_.model.categories[0];
  const TokenTexts texts = tokenize(bundle_, {{"user", "tell me"}}, {"one thing", "another", "x"});
  const nn::RewardModel same = random_expert(), above = random_expert(1), second = random_expert();
  const std::vector<const nn::RewardModel*> others = {&same, &above, &second};
  const ExpertsAndOthers together = bundle_.model.experts(category, texts, others),
                         experts = bundle_.model.experts(category, texts);
  EXPECT_TRUE(together.experts.rewards_NK.equal(experts.experts.rewards_NK));
  EXPECT_TRUE(together.experts.states_NKH.read(at::arange(3)).equal(experts.experts.states_NKH.read(at::arange(3))));
  EXPECT_EQ(experts.others_NM.size(1), 0);
  ASSERT_EQ(together.others_NM.size(1), 3);
  for (std::size_t m = 0; m < others.size(); ++m)
    EXPECT_TRUE(
        together.others_NM.select(1, static_cast<std::int64_t>(m)).equal(rewards_of(*others[m], texts, bundle_.model.limits)))
        << m;
}

TEST_F(BundleFolder, ScoresTopLayerAdaptersLikeFullOnesWithZerosBelow) {
  std::vector<nn::RewardModel>& experts = bundle_.model.categories[0].experts;
  std::vector<nn::RewardModel> tops, wholes;
  for (std::size_t e = 0; e < experts.size(); ++e) {
    tops.push_back(random_expert(1));
    wholes.emplace_back(bundle_.model.backbone, nn::LoraSpec{3, 6.0, 0.05, 0});
    for (const auto& [name, slot] : wholes.back().adapter()->named()) {
      for (const auto& [other, value] : tops.back().adapter()->named()) {
        if (name == other) slot.copy_(value);
      }
    }
    at::Tensor(wholes.back().head().w_D).copy_(tops.back().head().w_D);
  }
  const auto scores = [&](const auto& first, const auto& second) {
    experts = {first, second};
    return rewards(score_texts(bundle_, {{"user", "tell me"}}, {"one thing", "another", "x"}, "chat"));
  };
  const auto expected = scores(wholes[0], wholes[1]), over_trunk = scores(tops[0], tops[1]), mixed = scores(tops[0], wholes[1]);
  for (std::size_t i = 0; i < expected.size(); ++i) {
    EXPECT_NEAR(over_trunk[i], expected[i], 1e-5);
    EXPECT_NEAR(mixed[i], expected[i], 1e-5);
  }
  EXPECT_GT(std::abs(expected[0] - expected[1]), 1e-4);
}

TEST_F(BundleFolder, ScoresOthersTheSameBesideAnOverlongResponse) {
  std::string prompt, endless;
  for (int i = 0; i < 8; ++i) prompt += "word ";
  for (int i = 0; i < 100; ++i) endless += "end ";
  const auto confidence = [&](const std::vector<std::string>& responses) {
    return score_texts(bundle_, {{"user", prompt}}, responses, "").route.confidence;
  };
  EXPECT_EQ(confidence({"good"}), confidence({"good", endless}));
  const auto alone = score_texts(bundle_, {{"user", prompt}}, {"good"}, "chat").responses;
  const auto beside = score_texts(bundle_, {{"user", prompt}}, {endless, "good", endless}, "chat").responses;
  EXPECT_NEAR(beside[1].reward, alone[0].reward, 1e-5);
  EXPECT_NEAR(beside[0].reward, beside[2].reward, 1e-5);
  EXPECT_EQ(beside[1].cut_tokens, 0);
  const auto ids = bundle_.chat_template->render(std::vector<preference::Message>{{"user", prompt}}, endless);
  EXPECT_EQ(beside[0].cut_tokens, static_cast<std::int64_t>(ids.size()) - bundle_.model.limits.layout.max_length);
}

TEST_F(BundleFolder, FollowsLinkedFilesAndNamesADamagedManifest) {
  const fs::path bundle = save(), linked = folder_ / "linked";
  for (const auto& entry : fs::recursive_directory_iterator(bundle)) {
    const fs::path to = linked / entry.path().lexically_relative(bundle);
    if (entry.is_directory()) continue;
    fs::create_directories(to.parent_path());
    fs::create_symlink(entry.path(), to);
  }
  EXPECT_EQ(load_bundle(linked, at::kCPU).model.categories.size(), 2U);  // download caches lay files out like this
  std::ofstream(bundle / "dmoerm.json") << "[]";
  EXPECT_NE(refusal().find("dmoerm.json"), std::string::npos) << refusal();
}

TEST_F(BundleFolder, FollowsAFolderThatWasMovedAwayAndSaysWhatLiesInPlaceOfAFile) {
  const fs::path bundle = save();
  fs::rename(bundle / "base", folder_ / "base elsewhere");
  fs::create_directory_symlink(folder_ / "base elsewhere", bundle / "base");
  EXPECT_EQ(load_bundle(bundle, at::kCPU).model.categories.size(), 2U);
  const fs::path weights = bundle / "base" / "model.safetensors";
  const auto size = fs::file_size(weights);
  fs::resize_file(weights, size / 2);
  EXPECT_NE(refusal().find(fmt::format("not copied whole ({} bytes)", size / 2)), std::string::npos) << refusal();
  std::ofstream(weights) << "version https://git-lfs.github.com/spec/v1\n";
  EXPECT_NE(refusal().find("a Git LFS pointer"), std::string::npos) << refusal();
  fs::remove(bundle / "base");
  fs::create_directory_symlink(folder_ / "nowhere", bundle / "base");
  EXPECT_NE(refusal().find("nowhere, which does not exist"), std::string::npos) << refusal();
}

TEST_F(BundleFolder, KeepsAModelsOwnTemplate) {
  const nlohmann::json form = {{"starts_with_bos", false},
                               {"edges",
                                {{"start>user", {"U ", {{"content", nlohmann::json::array()}}}},
                                 {"user>assistant", {" A ", {{"content", nlohmann::json::array()}}}},
                                 {"assistant>user", {" U ", {{"content", nlohmann::json::array()}}}},
                                 {"user>generation", {" A "}},
                                 {"user>response", {" A ", {{"content", nlohmann::json::array()}}}},
                                 {"response>end", {" end"}}}}};
  bundle_.chat_template = std::make_shared<tokenizer::ChatTemplate>(tokenizer::ChatForm::parse(form, "chatml", "own.json"),
                                                                    *bundle_.tokenizer, false);
  const fs::path bundle = save();
  const Bundle loaded = load_bundle(bundle, at::kCPU);
  EXPECT_EQ(loaded.chat_template->name(), "chatml");  // the form counts, not the built-in template of this name
  EXPECT_EQ(loaded.chat_template->digest(), bundle_.chat_template->digest());
  const std::vector<preference::Message> prompt = {{"user", "hello"}};
  EXPECT_EQ(loaded.chat_template->render_text(prompt, "good"), "U hello A good end");

  nlohmann::json manifest = read_json(bundle / "dmoerm.json");
  manifest.erase(kOwnSum);
  manifest["template"]["form"]["edges"]["response>end"] = {"other end"};
  std::ofstream(bundle / "dmoerm.json") << manifest.dump();
  EXPECT_NE(refusal().find("template chatml has digest"), std::string::npos) << refusal();
  manifest["template"]["form"]["edges"]["response>end"] = {nlohmann::json{{"colour", 1}}};
  std::ofstream(bundle / "dmoerm.json") << manifest.dump();
  EXPECT_NE(refusal().find("dmoerm.json: template: form.edges.response>end[0]: unknown key \"colour\""), std::string::npos)
      << refusal();
}

TEST_F(BundleFolder, PadsWithTheTokenThatTheConfigurationNames) {
  write_json_atomically(folder_ / "model" / "tokenizer_config.json",
                        {{"pad_token", "[SEP]"}, {"chat_template", "{{ of another model }}"}, {"model_max_length", 64}});
  const nlohmann::json config = read_json(save() / "base" / "tokenizer_config.json");
  EXPECT_EQ(config.at("pad_token"), bundle_.tokenizer->token_of(0));
  EXPECT_FALSE(config.contains("chat_template"));
  EXPECT_EQ(config.at("model_max_length"), 64);
}

TEST_F(BundleFolder, RoutesByTheWholeConversation) {
  const auto log_odds = [&](const std::vector<preference::Message>& prompt) {
    const auto p = score_texts(bundle_, prompt, {"yes"}, "chat").route.probabilities;
    return std::log(p[0]) - std::log(p[1]);
  };
  const double alone = log_odds({{"user", "go on"}});
  const double after = log_odds({{"user", "write a poem"}, {"assistant", "the sea"}, {"user", "go on"}});
  const double other = log_odds({{"user", "sort a list"}, {"assistant", "done"}, {"user", "go on"}});
  EXPECT_GT(std::abs(after - alone), 1e-3);
  EXPECT_GT(std::abs(after - other), 1e-3);
}

TEST_F(BundleFolder, ScoresWithTheSingleModelWhenTheRouterIsUnsure) {
  config::RouterConfig config;
  config.confidence_min = 1.1;
  const at::Tensor x = at::randn({4, 16});
  bundle_.model.router = moe::CategoryRouter::fit({"chat", "code"}, {x, {0, 1, 0, 1}, {}}, {x, {0, 1, 0, 1}, {}}, config);
  const GroupScore scored = score_texts(bundle_, {{"user", "hm"}}, {"yes"}, "");
  EXPECT_EQ(scored.category, "");
  EXPECT_TRUE(scored.responses[0].points.empty());
  const std::vector<std::int32_t> ids = bundle_.chat_template->render(std::vector<preference::Message>{{"user", "hm"}}, "yes");
  const nn::Backbone& backbone = *bundle_.model.backbone;
  data::TokenGroup text;
  text.responses.emplace_back(ids);
  data::PackedBatch batch;
  data::append_group(batch, text, std::vector<std::int32_t>{0}, backbone.packing());
  const nn::AdapterRows rows{bundle_.model.fallback.adapter(), 0, batch.tokens(), 0, 1, 0};
  const at::Tensor state_D = backbone.forward(batch, {&rows, 1}, nullptr)[0];
  EXPECT_NEAR(scored.responses[0].reward, state_D.dot(bundle_.model.fallback.head().w_D).item<double>(), 1e-5);
  EXPECT_EQ(score_texts(bundle_, {{"user", "hm"}}, {"yes"}, "code").category, "code");
}

TEST_F(BundleFolder, RefusesBadInputWithAReason) {
  EXPECT_THROW(score_texts(bundle_, {{"user", " "}}, {"x"}, ""), DataError);
  EXPECT_THROW(score_texts(bundle_, {{"user", "x"}}, {"\n"}, ""), DataError);
  EXPECT_THROW(score_texts(bundle_, {{"user", "x"}}, {}, ""), DataError);
  try {
    score_texts(bundle_, {{"user", "x"}}, {"y"}, "poetry");
    FAIL();
  } catch (const DataError& e) {
    EXPECT_NE(std::string(e.what()).find("chat, code"), std::string::npos);
  }
  std::string endless;
  for (int i = 0; i < 500; ++i) endless += "word ";
  EXPECT_TRUE(std::isfinite(
      score_texts(bundle_, {{"user", endless}}, {endless, "short"}, "chat").responses[0].reward));  // cut, not crashed
}

/// Features on which the base alone orders the responses.
ExpertFeatures base_knows() {
  at::manual_seed(8);
  ExpertFeatures f{at::randn({80, 2, 16}), at::randn({80, 2})};
  f.base_N = at::randn({80}), f.length_N = at::randn({80}), f.prompts_GH = at::randn({20, 16});
  for (std::int64_t g = 0; g < 20; ++g) {
    f.groups.push_back({4 * g, 4, {}});
    for (std::int32_t i = 1; i < 4; ++i) {
      const bool first = (f.base_N[4 * g] > f.base_N[4 * g + i]).item<bool>();
      f.groups.back().pairs.push_back({first ? 0 : i, first ? i : 0});
    }
  }
  return f;
}

TEST_F(BundleFolder, KeepsTheBaseWhoseRewardTheAggregatorReads) {
  const ExpertFeatures f = base_knows();
  const std::vector<preference::Message> prompt = {{"user", "why"}};
  for (const char* kind : {"stack", "gate", "mlp"}) {
    for (const bool own_backbone : {false, true}) {
      Category& chat = bundle_.model.categories[0];
      chat.aggregator = fit_aggregator(kind, f, {}, {}, 1);
      if (own_backbone) {
        chat.base = nn::RewardModel(nn::Backbone::load(folder_ / "model", at::kCPU));
        at::Tensor head = chat.base.head().w_D;
        head.copy_(at::randn(head.sizes()));
        for (nn::RewardModel& expert : chat.experts) expert = over(chat.base.shared_backbone(), expert);
      } else {
        chat.base = random_expert();
      }
      const Bundle loaded = load_bundle(save(), at::kCPU);
      const Score before = score_texts(bundle_, prompt, {"because", "so it is"}, "chat").responses[1],
                  after = score_texts(loaded, prompt, {"because", "so it is"}, "chat").responses[1];
      EXPECT_EQ(before.reward, after.reward) << kind << own_backbone;
      ASSERT_TRUE(after.base.has_value());
      EXPECT_EQ(before.base, after.base);
      EXPECT_EQ(after.expert_rewards.size(), 3U) << "two experts and the base";
      const TokenTexts texts = tokenize(bundle_, prompt, {"because", "so it is"});
      EXPECT_NEAR(after.expert_rewards[2], rewards_of(chat.base, texts, bundle_.model.limits)[1].item<double>(), 1e-5);
      if (std::string(kind) == "mlp") continue;
      ASSERT_EQ(after.contributions.size(), 3U);
      EXPECT_NEAR(after.contributions[0] + after.contributions[1] + after.contributions[2], after.reward, 1e-4);
    }
  }
}

TEST_F(BundleFolder, NamesAnAggregatorWithoutTheBaseThatItReads) {
  bundle_.model.categories[0].aggregator = fit_aggregator("stack", base_knows(), {}, {}, 1);
  bundle_.model.categories[0].base = random_expert();
  const fs::path bundle = save();
  json manifest = read_json(bundle / "dmoerm.json");
  manifest["categories"][0].erase("base_reward");
  sum_again(bundle, manifest);
  EXPECT_NE(refusal().find("the aggregator of category chat reads its base's reward"), std::string::npos) << refusal();
}

TEST_F(BundleFolder, NamesTheTensorThatTheFileOfAGateLacks) {
  Category& chat = bundle_.model.categories[0];
  chat.aggregator = fit_aggregator("gate", base_knows(), {}, {}, 1);
  chat.base = random_expert();
  const fs::path bundle = save(), file = bundle / "aggregator" / "chat.safetensors";
  json manifest = read_json(bundle / "dmoerm.json");
  const auto whole = nn::SafetensorsReader::open(file);
  nn::NamedTensors tensors;
  for (const std::string& name : whole.names()) tensors.emplace_back(name, whole.load(name).clone());
  const std::map<std::string, std::string> metadata(whole.metadata().begin(), whole.metadata().end());
  const auto refusal_without = [&](const std::string& name) {
    nn::NamedTensors others;
    std::ranges::copy_if(tensors, std::back_inserter(others), [&](const auto& tensor) { return tensor.first != name; });
    nn::save_safetensors(file, others, metadata);
    sum_again(bundle, manifest);
    return refusal();
  };
  ASSERT_EQ(refusal_without("none of them"), "");
  for (const char* name : {"reward_mean", "reward_std", "prompt_mean", "prompt_std", "gate_w1", "gate_b1", "gate_w2", "gate_b2",
                           "log_scale", "length", "length_weight"}) {
    const std::string said = refusal_without(name);
    EXPECT_NE(said.find(fmt::format("aggregator/chat.safetensors: tensor {} is missing", name)), std::string::npos)
        << name << ": " << said;
  }
}

TEST_F(BundleFolder, ReadsAggregatorsOfEarlierVersions) {
  const ExpertFeatures f = base_knows();
  for (const auto& [old_kind, kind] : {std::pair("mean", "mean"), std::pair("linear", "stack"), std::pair("mlp", "paper_mlp")}) {
    ExpertFeatures experts = f;
    experts.base_N = at::Tensor();
    const Aggregator written = fit_aggregator(kind, experts, {}, {.steps_max = 10}, 1);
    const fs::path file = folder_ / "old.safetensors";
    written.save(file);
    const auto reader = nn::SafetensorsReader::open(file);
    nn::NamedTensors tensors;
    for (const std::string& name : reader.names()) tensors.emplace_back(name, reader.load(name));
    nn::save_safetensors(file, tensors, {{"kind", old_kind}, {"validation_accuracy", "0.5"}, {"best_step", "3"}});
    const Aggregator read = Aggregator::load(file);
    EXPECT_EQ(read.kind(), kind);
    EXPECT_TRUE(read.rewards(experts).equal(written.rewards(experts))) << old_kind;
  }
}

TEST_F(BundleFolder, NamesDamageAnotherSchemaAndOtherGoldenScores) {
  const fs::path bundle = save();
  for (const char* file : {"experts/chat/p/adapter_model.safetensors", "base/model.safetensors", "router/router.safetensors",
                           "aggregator/code.safetensors"}) {
    const std::string whole = read_file(bundle / file);
    std::string bytes = whole;
    bytes[bytes.size() - 3] = static_cast<char>(bytes[bytes.size() - 3] ^ 4);
    std::ofstream(bundle / file, std::ios::binary) << bytes;
    EXPECT_NE(refusal().find(file), std::string::npos) << refusal();
    std::ofstream(bundle / file, std::ios::binary) << whole;
  }
  EXPECT_EQ(refusal(), "");
  const json manifest = read_json(bundle / "dmoerm.json");
  json other = manifest;
  other["schema_version"] = 7;
  write_json_atomically(bundle / "dmoerm.json", other);
  EXPECT_NE(refusal().find("schema version 7, this program reads 1 to 4"), std::string::npos) << refusal();
  other = manifest;
  other["golden"][0]["scores"][0] = 99.0;
  write_summed_json(bundle / "dmoerm.json", other);
  EXPECT_NE(refusal().find("golden score 0"), std::string::npos) << refusal();
  other = manifest;
  other["template"]["sha256"] = "0";
  write_summed_json(bundle / "dmoerm.json", other);
  EXPECT_NE(refusal().find("template dmoerm has digest"), std::string::npos) << refusal();
}

TEST_F(BundleFolder, NamesAManifestInWhichADigitChanged) {
  const fs::path bundle = save();
  const json manifest = read_json(bundle / "dmoerm.json");
  std::ofstream(bundle / "dmoerm.json") << manifest.dump(7);
  EXPECT_EQ(refusal(), "") << "another layout of the same values";
  for (const char* place : {"/score_stats/chat/std", "/single_stats/mean", "/batch_tokens"}) {
    json other = manifest;
    json& figure = other[json::json_pointer(place)];
    figure = figure.get<double>() + 1;
    write_json_atomically(bundle / "dmoerm.json", other);
    EXPECT_NE(refusal().find("dmoerm.json: its manifest_sha256 is that of another content"), std::string::npos) << refusal();
  }
  json earlier = manifest;
  earlier.erase(kOwnSum);
  write_json_atomically(bundle / "dmoerm.json", earlier);
  EXPECT_EQ(refusal(), "") << "bundles of earlier versions do not name it";
}

TEST_F(BundleFolder, KeepsTheOldBundleWhenASaveFails) {
  save();
  at::Tensor(bundle_.model.categories[1].experts[0].head().w_D).fill_(std::nan(""));
  EXPECT_THROW(save(), Error);
  EXPECT_EQ(refusal(), "");
  std::size_t entries = 0;
  for ([[maybe_unused]] const auto& entry : fs::directory_iterator(folder_)) ++entries;
  EXPECT_EQ(entries, 2U);  // model and bundle
}

}  // namespace
}  // namespace dmoerm::moe
