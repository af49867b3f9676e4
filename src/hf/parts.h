// The single models of a bundle that can be exported: experts, overall models of phase 1, and the single model.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "moe/bundle.h"

namespace dmoerm::hf {

/// How models are laid out.
///   peft    base/ once, and one PEFT adapter with its value head for each model
///   merged  one whole model each, with its adapter folded into the weights in float32
///   vllm    the same, with a model card for vLLM, which does not load adapters with heads
enum class Layout : std::uint8_t { peft, merged, vllm };

/// A model that gives one reward.
struct Part {
  std::string name;    ///< "CATEGORY/POINT", "CATEGORY" for its overall model, or "single"
  std::string folder;  ///< Where it lies in an export: experts/CATEGORY/POINT, overall/CATEGORY or single
  nn::RewardModel model;
  const moe::Category* category = nullptr;  ///< Null for the single model
  double mean = 0, std = 1;                 ///< What the aggregator standardises its reward by
};

/// All parts of a bundle. @param bundle  must outlive them
std::vector<Part> parts_of(const moe::Bundle& bundle);

/// The parts with these names, in their order, each once; all parts if there are no names.
/// @throws ConfigError for a name that is not a part's (lists the parts)
std::vector<Part> chosen_parts(const moe::Bundle& bundle, const std::vector<std::string>& names);

}  // namespace dmoerm::hf
