#include "nn/backbone_spec.h"

#include <fmt/format.h>

#include <map>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"

namespace dmoerm::nn {
namespace {

using nlohmann::json;

const std::map<std::string, Family> kFamilies = {{"llama", Family::llama},
                                                 {"mistral", Family::mistral},
                                                 {"qwen2", Family::qwen2},
                                                 {"qwen3", Family::qwen3},
                                                 {"bert", Family::bert}};

constexpr std::int64_t kPositions = 2048, kLayersMax = 4096, kHeadsMax = 1 << 20;

/// Reads keys of config.json; null counts as absent.
class Keys {
 public:
  Keys(const json& object, std::string file) : object_(object), file_(std::move(file)) {}
  [[nodiscard]] bool has(const char* key) const { return object_.contains(key) && !object_[key].is_null(); }
  template <class T>
  [[nodiscard]] T get(const char* key, T fallback) const {
    if (!has(key)) return fallback;
    try {
      return object_[key].template get<T>();
    } catch (const json::exception&) {
      throw DataError("model-config-wrong-type",
                      fmt::format("{}: {}: {} is not of the expected type", file_, key, object_[key].dump()));
    }
  }
  [[nodiscard]] std::int64_t size(const char* key, std::int64_t fallback = 0, std::int64_t most = std::int64_t{1} << 31) const {
    const bool whole = !has(key) || object_[key].is_number_integer();
    const auto value = whole ? get<std::int64_t>(key, fallback) : 0;
    if (value <= 0 || value > most) {
      throw DataError("model-config-out-of-range", fmt::format("{}: {}: {}, expected a whole number from 1 to {}", file_, key,
                                                               has(key) ? object_[key].dump() : "missing", most));
    }
    return value;
  }
  /// A required positive number.
  [[nodiscard]] double factor(const char* key) const {
    const auto value = get(key, 0.0);
    if (!(value > 0)) {
      throw DataError("model-config-out-of-range", fmt::format("{}: {}: {}, expected a number above 0", file_, key,
                                                               has(key) ? object_[key].dump() : "missing"));
    }
    return value;
  }
  /// Refuses a key that has another value than the only supported one.
  void refuse_unless(const char* key, const json& only) const {
    if (has(key) && object_[key] != only)
      throw DataError("model-config-unsupported",
                      fmt::format("{}: {}: {} is not supported, only {}", file_, key, object_[key].dump(), only.dump()));
  }
  [[nodiscard]] Keys child(const char* key) const { return {object_[key], fmt::format("{}: {}", file_, key)}; }
  /// Whether the key is present, even as null.
  [[nodiscard]] bool stated(const char* key) const { return object_.contains(key); }
  /// Whether the key holds an object that is not empty. @throws DataError for a value that is neither an object nor null
  [[nodiscard]] bool is_object(const char* key) const {
    if (has(key) && !object_[key].is_object())
      throw DataError("model-config-wrong-type",
                      fmt::format("{}: {}: expected an object, found {}", file_, key, object_[key].dump()));
    return has(key) && !object_[key].empty();
  }
  [[nodiscard]] const std::string& file() const { return file_; }

 private:
  const json& object_;
  std::string file_;
};

/// transformers 5 writes rope_parameters; older versions write rope_theta and rope_scaling (with "type" or "rope_type"), which
/// take precedence if both are present. Defaults are those of transformers.
RopeSpec read_rope(const Keys& keys) {
  RopeSpec rope;
  rope.theta = keys.get("rope_theta", rope.theta);
  const char* section = keys.is_object("rope_scaling") ? "rope_scaling" : "rope_parameters";
  if (!keys.is_object(section)) return rope;
  const Keys scaling = keys.child(section);
  rope.theta = scaling.get("rope_theta", rope.theta);
  rope.type = scaling.get<std::string>("rope_type", scaling.get<std::string>("type", "default"));
  if (rope.type != "default" && rope.type != "linear" && rope.type != "llama3") {
    throw DataError("model-rope-unsupported",
                    fmt::format("{}: rope type {} is not supported (default, linear, llama3)", scaling.file(), rope.type));
  }
  scaling.refuse_unless("partial_rotary_factor", 1.0);
  if (!(rope.theta > 0))
    throw DataError("model-config-out-of-range", fmt::format("{}: rope_theta must be above 0", scaling.file()));
  if (rope.type != "default") rope.factor = scaling.factor("factor");
  if (rope.type != "llama3") return rope;
  rope.low_freq_factor = scaling.factor("low_freq_factor");
  rope.high_freq_factor = scaling.factor("high_freq_factor");
  const char* original = "original_max_position_embeddings";
  const std::int64_t all = keys.size("max_position_embeddings", kPositions);
  rope.original_max_positions = keys.has(original) ? keys.size(original) : scaling.size(original, all);
  if (!(rope.high_freq_factor > rope.low_freq_factor)) {
    throw DataError("model-config-contradiction", fmt::format("{}: high_freq_factor {} must be above low_freq_factor {}",
                                                              scaling.file(), rope.high_freq_factor, rope.low_freq_factor));
  }
  return rope;
}

void read_activation(const Keys& keys, BackboneSpec& spec) {
  const auto activation = keys.get<std::string>("hidden_act", spec.encoder() ? "gelu" : "silu");
  const bool known = spec.encoder() ? activation == "gelu" || activation == "gelu_new" || activation == "gelu_pytorch_tanh"
                                    : activation == "silu";
  if (!known) {
    throw DataError("model-config-unsupported", fmt::format("{}: hidden_act {} is not supported for this architecture ({})",
                                                            keys.file(), activation, spec.encoder() ? "gelu, gelu_new" : "silu"));
  }
  spec.tanh_gelu = spec.encoder() && activation != "gelu";
}

}  // namespace

double BackboneSpec::linear_macs_per_token() const {
  const auto attention = static_cast<double>(width * qkv_width() + q_width() * width);
  const auto mlp = static_cast<double>((encoder() ? 2 : 3) * width * intermediate);
  return static_cast<double>(layers) * (attention + mlp);
}

BackboneSpec parse_backbone_spec(const json& config, const std::string& file) {
  if (!config.is_object()) throw DataError("model-config-wrong-type", fmt::format("{}: must be a JSON object", file));
  const Keys keys(config, file);
  const auto type = keys.get<std::string>("model_type", "");
  const auto found = kFamilies.find(type);
  if (found == kFamilies.end()) {
    throw DataError(
        "model-type-unsupported",
        fmt::format(
            "{}: model_type \"{}\" is not supported. Supported: llama (Llama 2, 3.x, SmolLM2), mistral, qwen2, qwen3, bert", file,
            type));
  }
  BackboneSpec spec;
  spec.family = found->second;
  spec.vocab = keys.size("vocab_size");
  spec.width = keys.size("hidden_size");
  spec.intermediate = keys.size("intermediate_size");
  spec.layers = keys.size("num_hidden_layers", 0, kLayersMax);
  spec.heads = keys.size("num_attention_heads", 0, kHeadsMax);
  spec.kv_heads = spec.encoder() ? spec.heads : keys.size("num_key_value_heads", spec.heads, kHeadsMax);
  if (spec.width % spec.heads != 0 && (spec.encoder() || !keys.has("head_dim")))
    throw DataError("model-config-contradiction",
                    fmt::format("{}: hidden_size {} is not a multiple of num_attention_heads {}", file, spec.width, spec.heads));
  spec.head_dim = spec.encoder() ? spec.width / spec.heads : keys.size("head_dim", spec.width / spec.heads, kHeadsMax);
  spec.max_positions = keys.size("max_position_embeddings", kPositions);
  if (spec.heads % spec.kv_heads != 0) {
    throw DataError(
        "model-config-contradiction",
        fmt::format("{}: num_attention_heads {} is not a multiple of num_key_value_heads {}", file, spec.heads, spec.kv_heads));
  }
  read_activation(keys, spec);
  if (spec.encoder()) {
    if (keys.get<std::string>("position_embedding_type", "absolute") != "absolute")
      throw DataError("model-config-unsupported", fmt::format("{}: only absolute position embeddings are supported", file));
    if (keys.get("is_decoder", false))
      throw DataError("model-config-unsupported", fmt::format("{}: is_decoder true is not supported for bert", file));
    spec.norm_eps = keys.get("layer_norm_eps", 1e-12);
    spec.type_vocab = keys.size("type_vocab_size", 2);
    spec.qkv_bias = spec.o_bias = spec.mlp_bias = true;
    return spec;
  }
  if (spec.head_dim % 2 != 0)
    throw DataError("model-config-contradiction",
                    fmt::format("{}: head_dim {} must be even for rotary embeddings", file, spec.head_dim));
  keys.refuse_unless("is_causal", true);
  keys.refuse_unless("partial_rotary_factor", 1.0);
  spec.norm_eps = keys.get("rms_norm_eps", 1e-6);
  spec.rope = read_rope(keys);
  const bool may_have_bias = spec.family == Family::llama || spec.family == Family::qwen3;  // transformers reads the keys there
  const bool attention_bias = may_have_bias && keys.get("attention_bias", false);
  spec.qkv_bias = attention_bias || spec.family == Family::qwen2;
  spec.o_bias = attention_bias;
  spec.mlp_bias = spec.family == Family::llama && keys.get("mlp_bias", false);
  spec.qk_norm = spec.family == Family::qwen3;
  const bool windowed = spec.family == Family::mistral || keys.get("use_sliding_window", false);
  constexpr std::int64_t kWindow = 4096;  // the default in transformers if the key is missing; null turns the window off
  if (windowed && (keys.has("sliding_window") || !keys.stated("sliding_window")))
    spec.sliding_window = keys.size("sliding_window", kWindow);
  return spec;
}

BackboneSpec read_backbone_spec(const std::filesystem::path& directory) {
  const std::filesystem::path file = directory / "config.json";
  if (!std::filesystem::exists(file))
    throw DataError("not-a-model-directory",
                    fmt::format("{}: no config.json: is it a Hugging Face model directory?", directory.string()));
  return parse_backbone_spec(read_json(file), file.string());
}

}  // namespace dmoerm::nn
