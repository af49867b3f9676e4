#include "nn/config_keys.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "base/error.h"

namespace dmoerm::nn {
namespace {

/// Parts of key names that speak of what a model computes.
constexpr std::string_view kArithmetic[] = {
    "rope",       "rotary", "alibi",     "softcap", "multipl",  "scal",    "window",  "norm",  "attn",   "attent", "bias",
    "expert",     "moe",    "residual",  "qkv",     "qk_",      "relativ", "bidirec", "spars", "pruned", "mup",    "layer_type",
    "activation", "logit",  "position_", "quant",   "compress", "gate",    "share",   "skip",  "ntk"};
/// Words of key names, between underscores, that do.
constexpr std::string_view kArithmeticWords[] = {"act", "cla", "ln", "glu"};
/// Parts of key names that speak of training, of speed, or of heads that are not read.
constexpr std::string_view kHarmless[] = {"dropout", "pdrop", "flash",       "implementation", "memory_efficient",
                                          "sdpa",    "unpad", "initializer", "xformers",       "checkpoint",
                                          "reward",  "loss",  "pooler_",     "offload",        "label"};

bool holds(std::string_view name, std::string_view part) { return name.find(part) != std::string_view::npos; }

bool sounds_arithmetic(const std::string& name) {
  const auto inside = [&](std::string_view part) { return holds(name, part); };
  const auto word = [words = "_" + name + "_"](std::string_view part) { return holds(words, fmt::format("_{}_", part)); };
  if (name == "use_cache" || name.starts_with("output_") || std::ranges::any_of(kHarmless, inside)) return false;
  return holds(name, "glu_") || std::ranges::any_of(kArithmetic, inside) || std::ranges::any_of(kArithmeticWords, word);
}

/// Whether a key that nobody understands says nothing: off, empty, or a factor of one.
bool says_nothing(std::string_view name, const nlohmann::json& value) {
  const auto inside = [&](std::string_view part) { return holds(name, part); };
  constexpr std::string_view kFactors[] = {"multipl", "scal", "factor", "pct", "ratio"};
  if (value.is_number() && value == 1) return std::ranges::any_of(kFactors, inside);
  return value.is_null() || value == false || value == 0 || value == "" ||
         ((value.is_array() || value.is_object()) && value.empty());
}

}  // namespace

bool ConfigKeys::stated(const char* key) const {
  read_.insert(key);
  return object_.contains(key);
}

void ConfigKeys::refuse_type(const char* key) const {
  throw DataError("model-config-wrong-type",
                  fmt::format("{}: {}: {} is not of the expected type", place_, key, object_[key].dump()));
}

std::int64_t ConfigKeys::size(const char* key, std::int64_t fallback, std::int64_t most) const {
  const bool whole = !has(key) || object_[key].is_number_integer();
  const auto value = whole ? get<std::int64_t>(key, fallback) : 0;
  if (value <= 0 || value > most) {
    throw DataError("model-config-out-of-range", fmt::format("{}: {}: {}, expected a whole number from 1 to {}", place_, key,
                                                             has(key) ? object_[key].dump() : "missing", most));
  }
  return value;
}

double ConfigKeys::factor(const char* key) const {
  const auto value = get(key, 0.0);
  if (!(value > 0)) {
    throw DataError("model-config-out-of-range", fmt::format("{}: {}: {}, expected a number above 0", place_, key,
                                                             has(key) ? object_[key].dump() : "missing"));
  }
  return value;
}

void ConfigKeys::refuse_contradiction(const char* key, const ConfigKeys& others, const char* other) const {
  if (!has(key) || !others.has(other) || object_[key] == others.object_[other]) return;
  throw DataError("model-config-contradiction",
                  fmt::format("{}: {} is {}, but {}: {} is {}; both say the same thing: remove the one that is wrong", place_,
                              key, object_[key].dump(), others.place_, other, others.object_[other].dump()));
}

void ConfigKeys::refuse_unless(const char* key, const nlohmann::json& only) const {
  if (has(key) && object_[key] != only)
    throw DataError("model-config-unsupported",
                    fmt::format("{}: {}: {} is not supported, only {}", place_, key, object_[key].dump(), only.dump()));
}

bool ConfigKeys::is_object(const char* key) const {
  if (has(key) && !object_[key].is_object())
    throw DataError("model-config-wrong-type",
                    fmt::format("{}: {}: expected an object, found {}", place_, key, object_[key].dump()));
  return has(key) && !object_[key].empty();
}

void ConfigKeys::refuse_unread() const {
  for (const auto& [key, value] : object_.items()) {
    if (!read_.contains(key) && !says_nothing(key, value))
      throw DataError("model-config-key-unknown",
                      fmt::format("{}: {}: {} is not understood, and would change what the model computes: dmoerm does not "
                                  "support models with this key",
                                  place_, key, value.dump()));
  }
}

void ConfigKeys::refuse_unread_arithmetic() const {
  for (const auto& [key, value] : object_.items()) {
    if (!read_.contains(key) && sounds_arithmetic(key) && !says_nothing(key, value))
      throw DataError("model-config-key-unknown",
                      fmt::format("{}: {}: {} is not understood for model_type {}, and may change what the model computes; if it "
                                  "has no effect on this model, remove the key",
                                  place_, key, value.dump(), object_.value("model_type", "")));
  }
}

}  // namespace dmoerm::nn
