#include "nn/backbone_spec.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "nn/config_keys.h"
#include "nn/model_directory.h"

namespace dmoerm::nn {
namespace {

using nlohmann::json;

const std::map<std::string, Family> kFamilies = {{"llama", Family::llama},
                                                 {"mistral", Family::mistral},
                                                 {"qwen2", Family::qwen2},
                                                 {"qwen3", Family::qwen3},
                                                 {"bert", Family::bert}};

constexpr std::int64_t kPositions = 2048, kLayersMax = 4096, kHeadsMax = 1 << 20;

bool is_layer_type(const std::string& name) { return name.ends_with("_attention"); }

/// One set of rope parameters. `all` are the keys of the whole file.
RopeSpec read_rope_section(const ConfigKeys& section, const ConfigKeys& all, RopeSpec rope) {
  all.refuse_contradiction("rope_theta", section, "rope_theta");
  section.refuse_contradiction("type", section, "rope_type");
  rope.theta = section.get("rope_theta", rope.theta);
  const auto old_type = section.get<std::string>("type", "default");
  rope.type = section.get("rope_type", old_type);
  if (rope.type != "default" && rope.type != "linear" && rope.type != "llama3") {
    throw DataError("model-rope-unsupported",
                    fmt::format("{}: rope type {} is not supported (default, linear, llama3)", section.place(), rope.type));
  }
  section.refuse_unless("partial_rotary_factor", 1.0);
  const char* original = "original_max_position_embeddings";
  section.know({original});  // only llama3 needs it
  if (rope.type == "default") section.refuse_unless("factor", 1.0);
  if (rope.type != "default") rope.factor = section.factor("factor");
  if (rope.type == "llama3") {
    rope.low_freq_factor = section.factor("low_freq_factor");
    rope.high_freq_factor = section.factor("high_freq_factor");
    all.refuse_contradiction(original, section, original);
    const std::int64_t most = all.size("max_position_embeddings", kPositions);
    rope.original_max_positions = all.has(original) ? all.size(original) : section.size(original, most);
    if (!(rope.high_freq_factor > rope.low_freq_factor)) {
      throw DataError("model-config-contradiction", fmt::format("{}: high_freq_factor {} must be above low_freq_factor {}",
                                                                section.place(), rope.high_freq_factor, rope.low_freq_factor));
    }
  }
  section.refuse_unread();
  return rope;
}

/// Rope parameters of each layer type, as newer models write them. Read if they all say the same.
RopeSpec read_rope_by_layer_type(const ConfigKeys& section, const ConfigKeys& all, const RopeSpec& base) {
  std::optional<RopeSpec> common;
  std::string first;
  for (const auto& [type, parameters] : section.json().items()) {
    if (!parameters.is_object() || !is_layer_type(type)) continue;
    const RopeSpec rope = read_rope_section(section.child(type.c_str()), all, base);
    section.know({type.c_str()});
    if (common && *common != rope) {
      throw DataError("model-rope-unsupported",
                      fmt::format("{}: {} and {} have different parameters; dmoerm supports one rotary embedding for all layers",
                                  section.place(), first, type));
    }
    if (!common) first = type;
    common = rope;
  }
  for (const auto& type : all.get("layer_types", std::vector<std::string>{})) {
    if (common && !section.has(type.c_str()))
      throw DataError("model-config-contradiction",
                      fmt::format("{}: holds no parameters for the layer type {} in layer_types", section.place(), type));
  }
  section.refuse_unread();
  return common.value_or(base);
}

/// Rope parameters in the section of that name.
RopeSpec read_named_rope(const ConfigKeys& keys, const char* name, const RopeSpec& base) {
  const ConfigKeys section = keys.child(name);
  const bool nested = std::ranges::any_of(section.json(), [](const json& value) { return value.is_object(); });
  return nested ? read_rope_by_layer_type(section, keys, base) : read_rope_section(section, keys, base);
}

/// transformers 5 writes rope_parameters; older versions write rope_theta and rope_scaling (with "type" or "rope_type"). A file
/// that has both must say the same in both. Defaults are those of transformers.
RopeSpec read_rope(const ConfigKeys& keys) {
  RopeSpec rope;
  rope.theta = keys.get("rope_theta", rope.theta);
  keys.know({"original_max_position_embeddings"});
  const bool old = keys.is_object("rope_scaling"), now = keys.is_object("rope_parameters");
  const RopeSpec base = rope;
  if (old) rope = read_named_rope(keys, "rope_scaling", base);
  if (now) {
    const RopeSpec of_parameters = read_named_rope(keys, "rope_parameters", base);
    if (old && of_parameters != rope) keys.refuse_contradiction("rope_scaling", keys, "rope_parameters");
    rope = of_parameters;
  }
  if (!(rope.theta > 0) || !std::isfinite(rope.theta))
    throw DataError("model-config-out-of-range",
                    fmt::format("{}: rope_theta {}, expected a number above 0", keys.place(), rope.theta));
  return rope;
}

/// Checks the kinds of attention that layers have. A window matters only to texts longer than it, which are refused. As in
/// transformers, Mistral has it in all layers, Qwen in those of its type or behind the first max_window_layers, Llama in none.
void read_windows(const ConfigKeys& keys, BackboneSpec& spec) {
  const bool qwen = spec.family == Family::qwen2 || spec.family == Family::qwen3;
  const bool windowed = qwen ? keys.get("use_sliding_window", false) : spec.family == Family::mistral;
  constexpr std::int64_t kFullLayers = 28;  // the default of max_window_layers
  const auto full_layers = keys.get("max_window_layers", kFullLayers);
  keys.know({"sliding_window", "use_sliding_window"});
  constexpr std::int64_t kWindow = 4096;  // the default in transformers if the key is missing; null turns the window off
  if (windowed && (keys.has("sliding_window") || !keys.stated("sliding_window")))
    spec.sliding_window = keys.size("sliding_window", kWindow);
  const auto types = keys.get("layer_types", std::vector<std::string>{});
  if (!types.empty() && std::ssize(types) < spec.layers)
    throw DataError("model-config-contradiction", fmt::format("{}: layer_types has {} entries, num_hidden_layers is {}",
                                                              keys.place(), types.size(), spec.layers));
  for (const std::string& type : types) {
    if (type == "full_attention" || (type == "sliding_attention" && spec.sliding_window > 0)) continue;
    throw DataError(
        "model-config-unsupported",
        fmt::format("{}: layer_types: {} is not supported{}", keys.place(), type,
                    type == "sliding_attention" ? " without a sliding_window" : ", only full_attention and sliding_attention"));
  }
  const bool slides = types.empty() ? full_layers < spec.layers : std::ranges::find(types, "sliding_attention") != types.end();
  if (qwen && !slides) spec.sliding_window = 0;
}

constexpr std::array kLoadFlags = {"load_in_8bit", "load_in_4bit"};

/// Whether all that an object says of quantisation is that nothing was quantised: it has flags, and all of them are false.
bool says_unquantised(const json& about) {
  bool flagged = false;
  for (const char* flag : kLoadFlags) {
    if (!about.contains(flag)) continue;
    if (about[flag] != false) return false;
    flagged = true;
  }
  return flagged;
}

/// How a checkpoint was quantised, as its section of config.json says.
std::string quantisation_in(const char* key, const json& about) {
  for (const char* name : {"quant_method", "quant_algo"}) {
    if (about.contains(name)) return about[name].is_string() ? about[name].get<std::string>() : about[name].dump();
  }
  for (const char* flag : kLoadFlags) {
    if (about.contains(flag) && about[flag] == true) return fmt::format("bitsandbytes ({})", flag);
  }
  if (about.contains("group_size") && about.contains("bits"))
    return fmt::format("{} ({} bits)", std::string_view(key) == "quantization" ? "MLX" : "MLX or another program",
                       about["bits"].dump());
  return "an unnamed method";
}

/// A quantised checkpoint stores something else than weights under names that look like weights, or under others.
void refuse_quantised(const ConfigKeys& keys) {
  const auto refuse = [&](const char* key, const std::string& method) {
    return DataError(
        "model-quantised",
        fmt::format("{}: {}: this is a checkpoint quantised with {}. dmoerm reads float32, float16 and bfloat16: use "
                    "the model that it was made from",
                    keys.place(), key, method));
  };
  for (const char* key : {"quantization", "quantization_config", "compression_config"}) {  // MLX writes the first two
    keys.know({key});
    if (!keys.is_object(key) || says_unquantised(keys.json()[key])) continue;
    throw refuse(key, quantisation_in(key, keys.json()[key]));
  }
  for (const char* flag : kLoadFlags) {
    if (keys.get(flag, false)) throw refuse(flag, "bitsandbytes");
  }
}

/// The type of the stored numbers has an old name and a new one, and may be written as torch.float32.
void check_dtype(const ConfigKeys& keys) {
  const auto name = [&](const char* key) {
    const auto value = keys.get<std::string>(key, "");
    return value.starts_with("torch.") ? value.substr(6) : value;
  };
  const std::string now = name("dtype"), old = name("torch_dtype");
  if (!now.empty() && !old.empty() && now != old) keys.refuse_contradiction("dtype", keys, "torch_dtype");
}

double read_norm_eps(const ConfigKeys& keys, const char* key, double fallback) {
  const double eps = keys.get(key, fallback);
  if (!(eps >= 0 && eps < 1))
    throw DataError("model-config-out-of-range",
                    fmt::format("{}: {}: {}, expected a number from 0 to 1", keys.place(), key, eps));
  return eps;
}

void read_activation(const ConfigKeys& keys, BackboneSpec& spec) {
  const auto activation = keys.get<std::string>("hidden_act", spec.encoder() ? "gelu" : "silu");
  const bool known = spec.encoder() ? activation == "gelu" || activation == "gelu_new" || activation == "gelu_pytorch_tanh"
                                    : activation == "silu";
  if (!known) {
    throw DataError("model-config-unsupported",
                    fmt::format("{}: hidden_act {} is not supported for this architecture ({})", keys.place(), activation,
                                spec.encoder() ? "gelu, gelu_new" : "silu"));
  }
  spec.tanh_gelu = spec.encoder() && activation != "gelu";
}

void read_encoder(const ConfigKeys& keys, BackboneSpec& spec) {
  keys.refuse_unless("position_embedding_type", "absolute");
  keys.refuse_unless("is_decoder", false);
  keys.refuse_unless("add_cross_attention", false);
  keys.refuse_unless("tie_encoder_decoder", false);
  spec.norm_eps = read_norm_eps(keys, "layer_norm_eps", 1e-12);
  spec.type_vocab = keys.size("type_vocab_size", 2);
  spec.qkv_bias = spec.o_bias = spec.mlp_bias = true;
}

void read_decoder(const ConfigKeys& keys, BackboneSpec& spec) {
  if (spec.head_dim % 2 != 0) {
    throw DataError("model-config-contradiction",
                    fmt::format("{}: head_dim {} must be even for rotary embeddings", keys.place(), spec.head_dim));
  }
  keys.refuse_unless("is_causal", true);
  keys.refuse_unless("partial_rotary_factor", 1.0);
  keys.refuse_unless("position_embedding_type", "rope");
  spec.norm_eps = read_norm_eps(keys, "rms_norm_eps", 1e-6);
  spec.rope = read_rope(keys);
  // transformers reads the keys of biases in these families; in the others the tensors of the files decide.
  const bool may_have_bias = spec.family == Family::llama || spec.family == Family::qwen3;
  const bool attention_bias = keys.get("attention_bias", false) && may_have_bias;
  spec.qkv_bias = attention_bias || spec.family == Family::qwen2;
  spec.o_bias = attention_bias;
  spec.mlp_bias = keys.get("mlp_bias", false) && spec.family == Family::llama;
  spec.qk_norm = spec.family == Family::qwen3;
  read_windows(keys, spec);
}

}  // namespace

double BackboneSpec::linear_macs_per_token() const {
  const auto attention = static_cast<double>(width * qkv_width() + q_width() * width);
  const auto mlp = static_cast<double>((encoder() ? 2 : 3) * width * intermediate);
  return static_cast<double>(layers) * (attention + mlp);
}

BackboneSpec parse_backbone_spec(const json& config, const std::string& file) {
  if (!config.is_object()) throw DataError("model-config-wrong-type", fmt::format("{}: must be a JSON object", file));
  const ConfigKeys keys(config, file);
  const auto type = keys.get<std::string>("model_type", "");
  const auto found = kFamilies.find(type);
  if (found == kFamilies.end()) {
    const char* hint = type.empty() ? ": this is not the config.json of a transformers model" : "";
    throw DataError("model-type-unsupported",
                    fmt::format("{}: model_type \"{}\" is not supported{}. Supported: llama (Llama 2, 3.x, SmolLM2), mistral, "
                                "qwen2, qwen3, bert",
                                file, type, hint));
  }
  refuse_quantised(keys);
  check_dtype(keys);
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
  if (keys.has("embedding_size") && keys.size("embedding_size") != spec.width)
    throw DataError("model-config-unsupported",
                    fmt::format("{}: embedding_size {} is not supported, expected hidden_size, which is {}", file,
                                keys.size("embedding_size"), spec.width));
  spec.max_positions = keys.size("max_position_embeddings", kPositions);
  if (spec.heads % spec.kv_heads != 0) {
    throw DataError(
        "model-config-contradiction",
        fmt::format("{}: num_attention_heads {} is not a multiple of num_key_value_heads {}", file, spec.heads, spec.kv_heads));
  }
  read_activation(keys, spec);
  if (spec.encoder()) {
    read_encoder(keys, spec);
  } else {
    read_decoder(keys, spec);
  }
  if (const auto reads = keys.get<std::string>(kHeadReadsKey, "last"); reads == "mean") {
    spec.head_reads = HeadReads::mean;
  } else if (reads != "last") {
    throw DataError("head-reads-unknown", fmt::format("{}: {} is \"{}\", expected \"last\" or \"mean\": a newer dmoerm may have "
                                                      "written this model",
                                                      file, kHeadReadsKey, reads));
  }
  keys.refuse_unread_arithmetic();
  return spec;
}

BackboneSpec read_backbone_spec(const std::filesystem::path& directory) {
  const std::filesystem::path file = directory / "config.json";
  if (!std::filesystem::is_regular_file(file)) refuse_model_directory(directory, "config.json");
  const json config = read_json(file);
  BackboneSpec spec = parse_backbone_spec(config, file.string());
  if (const std::string adapter = adapter_beside(directory); !adapter.empty())
    spdlog::warn(
        "{}: the adapter {} beside the model's weights is not read: they are used as they stand. If it belongs to them, merge it "
        "(merge_and_unload() in peft) and give the result",
        directory.string(), adapter);
  const json own = config.value("auto_map", json::object());
  for (const auto& [name, place] : own.items()) {
    if (!name.starts_with("AutoModel")) continue;
    spdlog::warn("{}: auto_map: the model brings code of its own ({}), which is not read: it is computed as a plain {}",
                 file.string(), place.dump(), config.value("model_type", ""));
    break;
  }
  return spec;
}

}  // namespace dmoerm::nn
