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

TEST(BackboneSpec, ReadsTheOldOrTheNewSectionOfRotaryEmbeddings) {
  const json old = {{"type", "linear"}, {"factor", 2.0}}, fresh = {{"rope_type", "linear"}, {"factor", 4.0}, {"rope_theta", 5e5}};
  EXPECT_EQ(parse(decoder("llama"), {{"rope_parameters", fresh}}).rope.theta, 5e5);
  EXPECT_EQ(parse(decoder("llama"), {{"rope_parameters", fresh}}).rope.factor, 4.0);
  EXPECT_EQ(parse(decoder("llama"), {{"rope_parameters", fresh}, {"rope_scaling", nullptr}}).rope.factor, 4.0);
  EXPECT_EQ(parse(decoder("llama"), {{"rope_parameters", fresh}, {"rope_scaling", json::object()}}).rope.factor, 4.0);
  EXPECT_EQ(parse(decoder("llama"), {{"rope_scaling", old}, {"rope_theta", 5e5}}).rope.theta, 5e5);
}

TEST(BackboneSpec, RefusesTwoNamesOfOneThingWithDifferentValues) {
  const json linear = {{"rope_type", "linear"}, {"factor", 4.0}, {"rope_theta", 5e5}};
  const json by_type = {{"full_attention", {{"rope_type", "default"}, {"rope_theta", 1e6}}}};
  const json llama3 = {{"rope_type", "llama3"},
                       {"factor", 8.0},
                       {"low_freq_factor", 1.0},
                       {"high_freq_factor", 4.0},
                       {"original_max_position_embeddings", 64}};
  const json scaled = {{"type", "linear"}, {"factor", 2.0}}, plain = {{"rope_type", "default"}, {"rope_theta", 1e4}};
  const json twice = {{"type", "linear"}, {"rope_type", "default"}, {"factor", 2.0}};
  const std::vector<std::pair<json, std::vector<const char*>>> cases = {
      {{{"rope_theta", 1e4}, {"rope_parameters", linear}}, {"rope_theta is 10000.0", "rope_parameters: rope_theta is 500000.0"}},
      {{{"rope_theta", 1e4}, {"rope_scaling", linear}}, {"rope_theta is 10000.0", "rope_scaling: rope_theta is 500000.0"}},
      {{{"rope_theta", 1e4}, {"rope_parameters", by_type}}, {"rope_theta is 10000.0", "full_attention: rope_theta is 1000000.0"}},
      {{{"rope_scaling", scaled}, {"rope_parameters", plain}}, {"rope_scaling is {", "rope_parameters is {"}},
      {{{"rope_scaling", scaled}, {"rope_parameters", linear}}, {"rope_scaling is {", "rope_parameters is {"}},
      {{{"rope_scaling", twice}}, {"type is \"linear\"", "rope_type is \"default\""}},
      {{{"rope_scaling", llama3}, {"original_max_position_embeddings", 128}},
       {"original_max_position_embeddings is 128", "original_max_position_embeddings is 64"}},
      {{{"dtype", "float32"}, {"torch_dtype", "torch.bfloat16"}}, {"dtype is \"float32\"", "torch_dtype is \"torch.bfloat16\""}},
  };
  for (const auto& [more, parts] : cases) {
    const std::string said = test::message_of<DataError>([&, &wrong = more] { (void)parse(decoder("llama"), wrong); });
    for (const char* part : parts) EXPECT_NE(said.find(part), std::string::npos) << more << " gives: " << said;
  }
  const json agreed = {{"rope_theta", 500000}, {"rope_scaling", linear}, {"rope_parameters", linear}};
  EXPECT_EQ(parse(decoder("llama"), agreed).rope.factor, 4.0);
  const json same = {{"rope_scaling", {{"type", "linear"}, {"factor", 2}}},
                     {"rope_parameters", {{"rope_type", "linear"}, {"factor", 2.0}, {"rope_theta", 1e4}}}};
  EXPECT_EQ(parse(decoder("llama"), same).rope.factor, 2.0) << "the theta that one of them leaves out is the usual one";
  EXPECT_EQ(parse(decoder("llama"), {{"dtype", "bfloat16"}, {"torch_dtype", "torch.bfloat16"}}).width, 24);
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
  EXPECT_EQ(original({{"original_max_position_embeddings", 64}}), 64);
  rope.erase("original_max_position_embeddings");
  EXPECT_EQ(original({{"original_max_position_embeddings", 128}}), 128);
}

TEST(BackboneSpec, TakesTransformersDefaultForAMissingWindowAndNoneForNull) {
  EXPECT_EQ(parse(decoder("mistral")).sliding_window, 4096);
  EXPECT_EQ(parse(decoder("mistral"), {{"sliding_window", nullptr}}).sliding_window, 0);
  EXPECT_EQ(parse(decoder("mistral"), {{"sliding_window", 7}}).sliding_window, 7);
  EXPECT_EQ(parse(decoder("qwen2")).sliding_window, 0);
  EXPECT_EQ(parse(decoder("qwen2"), {{"use_sliding_window", true}, {"max_window_layers", 1}}).sliding_window, 4096);
}

TEST(BackboneSpec, HasAWindowOnlyWhereTransformersSlidesIt) {
  const json slides = {{"use_sliding_window", true}, {"sliding_window", 4}};
  const auto window = [&](const char* type, json more) {
    more.update(slides);
    return parse(decoder(type), more).sliding_window;
  };
  EXPECT_EQ(window("llama", json::object()), 0) << "what another program has left there";
  EXPECT_EQ(window("mistral", {{"max_window_layers", 2}}), 4);
  for (const char* qwen : {"qwen2", "qwen3"}) {
    EXPECT_EQ(window(qwen, {{"max_window_layers", 2}}), 0) << "of 2 layers";
    EXPECT_EQ(window(qwen, {{"max_window_layers", 1}}), 4);
    EXPECT_EQ(window(qwen, json::object()), 0) << "the first 28 layers have none";
    EXPECT_EQ(window(qwen, {{"layer_types", {"full_attention", "full_attention"}}, {"max_window_layers", 0}}), 0);
    EXPECT_EQ(window(qwen, {{"layer_types", {"full_attention", "sliding_attention"}}, {"max_window_layers", 2}}), 4);
  }
}

TEST(BackboneSpec, IgnoresKeysThatTransformersDoesNotRead) {
  EXPECT_FALSE(parse(decoder("mistral"), {{"attention_bias", true}}).qkv_bias);
  EXPECT_FALSE(parse(decoder("qwen2"), {{"mlp_bias", true}}).mlp_bias);
  const BackboneSpec bert = parse(decoder("bert"), {{"head_dim", 5}, {"num_key_value_heads", 2}});
  EXPECT_EQ(bert.head_dim, 6);
  EXPECT_EQ(bert.kv_heads, 4);
}

TEST(BackboneSpec, SaysWhatHeadsRead) {
  EXPECT_EQ(parse(decoder("mistral")).head_reads, HeadReads::last);
  EXPECT_EQ(parse(decoder("mistral"), {{kHeadReadsKey, "last"}}).head_reads, HeadReads::last);
  EXPECT_EQ(parse(decoder("mistral"), {{kHeadReadsKey, "mean"}}).head_reads, HeadReads::mean);
}

TEST(BackboneSpec, RefusesSettingsThatWouldGiveOtherNumbers) {
  const std::vector<std::pair<json, const char*>> cases = {
      {{{"is_causal", false}}, "is_causal: false is not supported"},
      {{{kHeadReadsKey, "first"}}, "dmoerm_head_reads is \"first\", expected \"last\" or \"mean\""},
      {{{"use_dynamic_ntk", true}}, "use_dynamic_ntk: true is not understood"},
      {{{"use_glu", true}}, "use_glu: true is not understood"},
      {{{"embedding_size", 8}}, "embedding_size 8 is not supported, expected hidden_size"},
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

/// The message with which `config` is refused, changed by `more`.
std::string refused(const char* type, const json& more) {
  return test::message_of<DataError>([&] { (void)parse(decoder(type), more); });
}

TEST(BackboneSpec, ReadsRopeByLayerTypeIfAllTypesAgree) {
  const json one = {{"rope_type", "linear"}, {"factor", 4.0}, {"rope_theta", 1e6}};
  json other = one;
  const auto sections = [&] { return json{{"rope_parameters", {{"full_attention", one}, {"sliding_attention", other}}}}; };
  EXPECT_EQ(parse(decoder("qwen3"), sections()).rope.theta, 1e6);
  EXPECT_EQ(parse(decoder("qwen3"), sections()).rope.factor, 4.0);
  other["rope_theta"] = 1e4;
  const std::string said = refused("qwen3", sections());
  EXPECT_NE(said.find("rope_parameters: full_attention and sliding_attention have different parameters"), std::string::npos)
      << said;
  json part = {{"rope_parameters", {{"full_attention", one}}}, {"layer_types", {"full_attention", "sliding_attention"}}};
  part.update({{"use_sliding_window", true}, {"sliding_window", 64}});
  EXPECT_NE(refused("qwen3", part).find("no parameters for the layer type sliding_attention"), std::string::npos);
  EXPECT_NE(refused("qwen3", {{"rope_parameters", {{"local", one}}}}).find("rope_parameters: local"), std::string::npos);
}

TEST(BackboneSpec, RefusesKeysOfRopeThatItDoesNotKnow) {
  for (const char* key : {"attention_factor", "beta_fast", "mscale", "short_factor", "mrope_section", "rope_thetta"}) {
    const std::string said = refused("llama", {{"rope_scaling", {{"rope_type", "linear"}, {"factor", 2.0}, {key, 1.5}}}});
    EXPECT_NE(said.find(std::string("rope_scaling: ") + key + ": 1.5 is not understood"), std::string::npos)
        << key << ": " << said;
  }
  EXPECT_NE(refused("llama", {{"rope_parameters", {{"rope_type", "default"}, {"factor", 2.0}}}}).find("factor: 2.0"),
            std::string::npos);
  EXPECT_EQ(
      parse(decoder("llama"), {{"rope_scaling", {{"type", "linear"}, {"factor", 2.0}, {"beta_fast", nullptr}}}}).rope.factor,
      2.0);
}

TEST(BackboneSpec, RefusesKeysThatMayChangeTheArithmeticAndIgnoresTheOthers) {
  const std::vector<std::pair<const char*, json>> unknown = {{"attn_logit_softcapping", 50.0},
                                                             {"embedding_multiplier", 12.0},
                                                             {"residual_multiplier", 0.22},
                                                             {"use_qk_norm", true},
                                                             {"clip_qkv", 8.0},
                                                             {"rope_local_base_freq", 1e4},
                                                             {"no_rope_layers", {1, 0}},
                                                             {"num_experts", 8},
                                                             {"hidden_activation", "gelu"},
                                                             {"rotary_pct", 0.25},
                                                             {"alibi", true},
                                                             {"norm_type", "layernorm"},
                                                             {"scale_depth", 1.4},
                                                             {"pruned_heads", {{"0", {1}}}},
                                                             {"attention_window", 128},
                                                             {"attention_output_scale", 0.5},
                                                             {"attn_output_gate", true},
                                                             {"attn_cache_scale", 0.5},
                                                             {"num_kv_shared_layers", 2},
                                                             {"use_cla", true},
                                                             {"cla_share_factor", 2},
                                                             {"skip_layers", {1}},
                                                             {"post_block_ln", true}};
  for (const char* type : {"llama", "mistral", "qwen2", "qwen3", "bert"}) {
    for (const auto& [key, value] : unknown) {
      const std::string said = refused(type, {{key, value}});
      EXPECT_NE(said.find(std::string("config.json: ") + key + ": "), std::string::npos) << type << " " << key << ": " << said;
    }
  }
  const json harmless = {{"attn_logit_softcapping", nullptr},
                         {"embedding_multiplier", 1.0},
                         {"use_qk_norm", false},
                         {"pruned_heads", json::object()},
                         {"attention_dropout", 0.1},
                         {"attn_implementation", "sdpa"},
                         {"_attn_implementation_autoset", true},
                         {"use_flash_attn", true},
                         {"initializer_range", 0.02},
                         {"torch_dtype", "bfloat16"},
                         {"pretraining_tp", 2},
                         {"bos_token_id", 1},
                         {"pooler_num_attention_heads", 12},
                         {"gradient_checkpointing", true},
                         {"use_cache", true},
                         {"transformers_version", "4.8.2"},
                         {"architectures", {"X"}},
                         {"output_attentions", true},
                         {"output_router_logits", true},
                         {"cache_implementation", "static"},
                         {"rope_interleaved", false},
                         {"task_specific_params", {{"a", 1}}},
                         {"unsloth_version", "1"}};
  for (const char* type : {"llama", "mistral", "qwen2", "qwen3", "bert"}) EXPECT_EQ(refused(type, harmless), "") << type;
}

TEST(BackboneSpec, ChecksTheTypesOfLayers) {
  const json both = {"full_attention", "sliding_attention"};
  EXPECT_EQ(parse(decoder("qwen3"), {{"layer_types", both}, {"use_sliding_window", true}, {"sliding_window", 64}}).sliding_window,
            64);
  EXPECT_NE(refused("qwen3", {{"layer_types", both}}).find("sliding_attention is not supported without"), std::string::npos);
  EXPECT_NE(refused("qwen2", {{"layer_types", {"full_attention", "linear_attention"}}}).find("linear_attention"),
            std::string::npos);
  EXPECT_NE(refused("qwen2", {{"layer_types", {"full_attention"}}}).find("layer_types has 1 entries"), std::string::npos);
  EXPECT_NE(refused("llama", {{"layer_types", both}, {"sliding_window", 64}}).find("sliding_attention is not supported without"),
            std::string::npos);
}

TEST(BackboneSpec, NamesAQuantisedCheckpoint) {
  for (const char* method : {"gptq", "awq", "bitsandbytes", "fp8", "compressed-tensors"}) {
    for (const char* key : {"quantization_config", "compression_config"}) {
      const std::string said = refused("llama", {{key, {{"quant_method", method}, {"bits", 4}}}});
      EXPECT_NE(said.find(std::string("quantised with ") + method), std::string::npos) << said;
    }
  }
  for (const auto& [change, said] :
       {std::pair(json{{"quantization", {{"group_size", 64}, {"bits", 4}}}}, "quantised with MLX (4 bits)"),
        {json{{"quantization_config", {{"load_in_8bit", true}, {"load_in_4bit", false}}}}, "bitsandbytes (load_in_8bit)"},
        {json{{"load_in_4bit", true}}, "load_in_4bit: this is a checkpoint quantised with bitsandbytes"}})
    EXPECT_NE(refused("llama", change).find(said), std::string::npos) << refused("llama", change);
}

TEST(BackboneSpec, ReadsACheckpointThatSaysItIsNotQuantised) {
  for (const json& change :
       {json{{"quantization_config", nullptr}}, json{{"quantization", json::object()}},
        json{{"load_in_8bit", false}, {"load_in_4bit", false}}, json{{"quantization_config", {{"load_in_8bit", false}}}},
        json{{"quantization_config",
              {{"quant_method", "bitsandbytes"},
               {"load_in_8bit", false},
               {"load_in_4bit", false},
               {"bnb_4bit_quant_type", "fp4"}}}}})
    EXPECT_EQ(refused("llama", change), "") << change;
}

TEST(BackboneSpec, RefusesABadNorm) {
  EXPECT_NE(refused("llama", {{"rms_norm_eps", -1e-6}}).find("rms_norm_eps"), std::string::npos);
  EXPECT_NE(refused("bert", {{"layer_norm_eps", "1e-12"}}).find("layer_norm_eps"), std::string::npos);
}

}  // namespace
}  // namespace dmoerm::nn
