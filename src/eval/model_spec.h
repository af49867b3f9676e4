// A model as the command line names it, and how texts are scored.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "nn/base_weights.h"

namespace dmoerm::eval {

/// Beginning of ModelSpec::what for a file of scores.
inline constexpr std::string_view kGivenScores = "scores:";

/// Beginning of ModelSpec::what for scores that the data itself has.
inline constexpr std::string_view kFieldScores = "field:";

/// Beginning of ModelSpec::what for the judges of a configuration.
inline constexpr std::string_view kJudges = "judge:";

/// Beginning of ModelSpec::what for a reward server: its address follows, see parse_server().
inline constexpr std::string_view kServer = "server:";

/// A model as the command line names it.
struct ModelSpec {
  std::string name;  ///< Letters, digits and ._:-+
  std::string what;  ///< A directory, server:URL, scores:FILE, field:KEY, judge:CONFIG, length, mean(A,B), wco(A,B), uwo(A,B)
  nn::BaseWeights weights = nn::BaseWeights::float32;  ///< Weights of a directory's backbone
};

/// "NAME=WHAT", or WHAT alone, which is then named by its last part. @throws ConfigError
ModelSpec parse_model(const std::string& text);

/// How texts are scored.
struct ScoringOptions {
  std::string device = "cpu";
  std::string chat_template;       ///< Template of a reward model or server that has no bundle; "" = it must have one
  std::string adapter_base;        ///< Directory of the model that a PEFT adapter adapts; "" = the one that it names
  std::int64_t max_length = 2048;  ///< Longest text of such a model, in tokens
  std::int64_t batch_tokens = 4096;
  /// Weights of bundles and reward models. With several each of them becomes several models, of which those with int8 weights are
  /// called NAME:int8.
  std::vector<nn::BaseWeights> weights = {nn::BaseWeights::float32};
  bool parts = false;      ///< Whether a bundle's parts are models of their own: NAME:true-category, NAME:mean, NAME:single
  bool ablations = false;  ///< Whether a bundle without one of its parts is a model, too: NAME:without-POINT, NAME:without-base
};

/// Called after each item: model, items scored, items.
using OnScored = std::function<void(const std::string& model, std::size_t done, std::size_t all)>;

}  // namespace dmoerm::eval
