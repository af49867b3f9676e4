// Reading config.json: both spellings of its keys, the defaults of transformers for missing keys, and refusals.
#include "nn/backbone_spec.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "support/scratch.h"

namespace dmoerm::nn {
namespace {

using nlohmann::json;

json decoder(const char* type) {
  return {{"model_type", type},
          {"vocab_size", 50},
          {"hidden_size", 24},
          {"intermediate_size", 32},
          {"num_hidden_layers", 2},
          {"num_attention_heads", 4},
          {"max_position_embeddings", 512}};
}

BackboneSpec parse(json config, const json& more = json::object()) {
  config.update(more);
  return parse_backbone_spec(config, "config.json");
}

TEST(BackboneSpec, PrefersTheOldSectionOfRotaryEmbeddings) {
  const json old = {{"type", "linear"}, {"factor", 2.0}}, fresh = {{"rope_type", "linear"}, {"factor", 4.0}, {"rope_theta", 5e5}};
  EXPECT_EQ(parse(decoder("llama"), {{"rope_parameters", fresh}}).rope.theta, 5e5);
  EXPECT_EQ(parse(decoder("llama"), {{"rope_parameters", fresh}}).rope.factor, 4.0);
  EXPECT_EQ(parse(decoder("llama"), {{"rope_parameters", fresh}, {"rope_scaling", nullptr}}).rope.factor, 4.0);
  EXPECT_EQ(parse(decoder("llama"), {{"rope_parameters", fresh}, {"rope_scaling", json::object()}}).rope.factor, 4.0);
  EXPECT_EQ(parse(decoder("llama"), {{"rope_parameters", fresh}, {"rope_scaling", old}}).rope.factor, 2.0);
}

TEST(BackboneSpec, ReadsLlama3sOriginalContextAsTransformersDoes) {
  json rope = {{"rope_type", "llama3"}, {"factor", 8.0}, {"low_freq_factor", 1.0}, {"high_freq_factor", 4.0}};
  const auto original = [&](const json& more) {
    json config = more;
    config["rope_scaling"] = rope;
    return parse(decoder("llama"), config).rope.original_max_positions;
  };
  EXPECT_EQ(original(json::object()), 512);
  rope["original_max_position_embeddings"] = 64;
  EXPECT_EQ(original(json::object()), 64);
  EXPECT_EQ(original({{"original_max_position_embeddings", 128}}), 128);
}

TEST(BackboneSpec, TakesTransformersDefaultForAMissingWindowAndNoneForNull) {
  EXPECT_EQ(parse(decoder("mistral")).sliding_window, 4096);
  EXPECT_EQ(parse(decoder("mistral"), {{"sliding_window", nullptr}}).sliding_window, 0);
  EXPECT_EQ(parse(decoder("mistral"), {{"sliding_window", 7}}).sliding_window, 7);
  EXPECT_EQ(parse(decoder("qwen2")).sliding_window, 0);
  EXPECT_EQ(parse(decoder("qwen2"), {{"use_sliding_window", true}}).sliding_window, 4096);
}

TEST(BackboneSpec, IgnoresKeysThatTransformersDoesNotRead) {
  EXPECT_FALSE(parse(decoder("mistral"), {{"attention_bias", true}}).qkv_bias);
  EXPECT_FALSE(parse(decoder("qwen2"), {{"mlp_bias", true}}).mlp_bias);
  const BackboneSpec bert = parse(decoder("bert"), {{"head_dim", 5}, {"num_key_value_heads", 2}});
  EXPECT_EQ(bert.head_dim, 6);
  EXPECT_EQ(bert.kv_heads, 4);
}

TEST(BackboneSpec, RefusesSettingsThatWouldGiveOtherNumbers) {
  const std::vector<std::pair<json, const char*>> cases = {
      {{{"is_causal", false}}, "is_causal: false is not supported"},
      {{{"partial_rotary_factor", 0.5}}, "partial_rotary_factor: 0.5 is not supported"},
      {{{"sliding_window", -5}}, "sliding_window: -5, expected a whole number"},
      {{{"hidden_size", 24.9}}, "hidden_size: 24.9, expected a whole number"},
      {{{"num_hidden_layers", 1000000}}, "num_hidden_layers: 1000000, expected a whole number from 1 to 4096"},
      {{{"hidden_size", 25}}, "hidden_size 25 is not a multiple of num_attention_heads 4"},
      {{{"rope_scaling", "linear"}}, "rope_scaling: expected an object, found \"linear\""},
      {{{"rope_scaling", {{"type", "linear"}}}}, "rope_scaling: factor: missing, expected a number above 0"},
      {{{"rope_scaling", {{"type", "yarn"}, {"factor", 2}}}}, "rope type yarn is not supported"},
      {{{"rope_scaling", {{"rope_type", "llama3"}, {"factor", 8}, {"high_freq_factor", 4}}}}, "low_freq_factor: missing"},
      {{{"rope_scaling", {{"rope_type", "llama3"}, {"factor", 8}, {"low_freq_factor", 4}, {"high_freq_factor", 4}}}},
       "high_freq_factor 4 must be above low_freq_factor 4"},
  };
  for (const auto& [more, expected] : cases) {
    const std::string said = test::message_of<DataError>([&, &wrong = more] { (void)parse(decoder("mistral"), wrong); });
    EXPECT_NE(said.find(expected), std::string::npos) << more << " gives: " << said;
  }
}

}  // namespace
}  // namespace dmoerm::nn
