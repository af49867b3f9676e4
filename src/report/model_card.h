// Model cards in Markdown.
#pragma once
#include <string>

#include "report/run_facts.h"

namespace dmoerm::report {

struct CardOptions {
  std::string license = "other";  ///< As the Hub names licences: apache-2.0, mit, ...
  std::string base_model;         ///< "owner/name" of the backbone; "" = as its config.json says, if it does
};
/// A model card as the Hugging Face Hub shows it: metadata, then what the model is, how it was trained, and how good it is.
std::string model_card(const Run& run, const CardOptions& options);

}  // namespace dmoerm::report
