// What config.json says about a backbone, in one struct for all supported families and both spellings of the keys.
#pragma once
#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace dmoerm::nn {

/// What a value head reads of a response: the state of its last token (encoders: of the text's first token), or the mean of the
/// states of all its tokens.
enum class HeadReads { last, mean };
/// Key of config.json that says it in models of this program: "last" (default) or "mean".
inline constexpr const char* kHeadReadsKey = "dmoerm_head_reads";

enum class Family { llama, mistral, qwen2, qwen3, bert };

/// Rotary position embedding: base and, for long contexts, how its frequencies are scaled.
struct RopeSpec {
  double theta = 10000.0;
  std::string type = "default";  ///< Kind of scaling: default, linear or llama3
  double factor = 1.0;
  double low_freq_factor = 1.0, high_freq_factor = 4.0;  ///< Bounds of the interpolation in llama3
  std::int64_t original_max_positions = 8192;            ///< Positions before the scaling of llama3
  bool operator==(const RopeSpec&) const = default;
};

struct BackboneSpec {
  Family family = Family::llama;
  std::int64_t vocab = 0, width = 0, intermediate = 0, layers = 0, heads = 0, kv_heads = 0, head_dim = 0, max_positions = 0;
  std::int64_t type_vocab = 0;      ///< Number of BERT's token types
  std::int64_t sliding_window = 0;  ///< 0 = none
  double norm_eps = 1e-6;
  bool qkv_bias = false, o_bias = false, mlp_bias = false;
  bool qk_norm = false;    ///< Qwen3: RMS norm of each head's q and k
  bool tanh_gelu = false;  ///< BERT with gelu_new
  RopeSpec rope;
  HeadReads head_reads = HeadReads::last;

  [[nodiscard]] bool encoder() const { return family == Family::bert; }
  [[nodiscard]] std::int64_t q_width() const { return heads * head_dim; }
  [[nodiscard]] std::int64_t kv_width() const { return kv_heads * head_dim; }
  [[nodiscard]] std::int64_t qkv_width() const { return q_width() + 2 * kv_width(); }
  /// Multiply-adds of the linear layers for one token, forward.
  [[nodiscard]] double linear_macs_per_token() const;
};

/// Read the JSON of a config.json.
/// @param file  name used in messages
/// @throws DataError for an unsupported architecture (lists the supported ones), rope type or activation, for a quantised
/// checkpoint, for missing or contradictory keys, and for keys that are not understood and may change what the model computes
BackboneSpec parse_backbone_spec(const nlohmann::json& config, const std::string& file);

/// parse_backbone_spec() of DIR/config.json. @throws DataError that says what lies there if it is not a model directory
BackboneSpec read_backbone_spec(const std::filesystem::path& directory);

}  // namespace dmoerm::nn
