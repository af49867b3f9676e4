// The README.md of an export.
#pragma once
#include <string>
#include <vector>

#include "hf/parts.h"

namespace dmoerm::hf {

/// What a hub shows beside a card; "" leaves a line out.
struct CardFacts {
  std::string license;     ///< As a hub names licences: apache-2.0, mit, ...
  std::string base_model;  ///< "owner/name" of the model that everything was trained from
};

/// A card in Markdown in the form that the Hub shows: what the folders hold, how they are loaded, what the rewards mean.
/// @param place  folder of each part below the card; "." where the card lies in the model's own folder
std::string model_card(const moe::Bundle& bundle, Layout layout, const std::vector<Part>& parts,
                       const std::vector<std::string>& places, const CardFacts& facts);
/// The card of one adapter's folder. @param base  the folder of its base, relative to the export
std::string adapter_card(const Part& part, const std::string& base, const CardFacts& facts);

}  // namespace dmoerm::hf
