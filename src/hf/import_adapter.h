// PEFT adapters of other programs in the form of this program's experts.
#pragma once
#include <filesystem>
#include <memory>

#include "nn/lora_adapter.h"
#include "nn/reward_model.h"
#include "nn/value_head.h"

namespace dmoerm::hf {

/// An expert that another program trained, without its backbone.
struct ImportedAdapter {
  nn::LoraAdapter adapter;  ///< float32, on the CPU
  nn::ValueHead head;       ///< The same
  /// The head's bias, which experts do not have. It adds the same to every reward, so it changes no order, and nothing of what an
  /// aggregator reads, which takes each expert's rewards less their mean.
  double bias = 0;

  /// A reward model over a backbone of the adapter's shape. Its rewards are those of the adapter less the bias.
  [[nodiscard]] nn::RewardModel over(std::shared_ptr<nn::Backbone> backbone) const;
};

/// Read a PEFT adapter of a decoder's sequence classifier, or one that this program wrote for any backbone. LoRA on queries or
/// values of some layers, of any ranks and scales, becomes an adapter of both in all layers from the lowest adapted one, of the
/// highest rank: what is added is zero, and rewards stay the same but for rounding.
/// @param spec  of the backbone that it shall adapt
/// @throws DataError naming file, tensor or setting, for LoRA on other linear layers or on layers that the backbone does not
/// have, other shapes, a missing or adapted head, one of several labels, tensors that replace others than the head's, an
/// encoder's head, which reads through a pooler, and numbers that are not finite; what read_adapter() refuses
ImportedAdapter import_adapter(const std::filesystem::path& directory, const nn::BackboneSpec& spec);

}  // namespace dmoerm::hf
