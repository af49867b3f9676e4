// Tells whether models are measured on prompts that they were trained on.
#pragma once
#include <vector>

#include "eval/item.h"
#include "eval/model_spec.h"

namespace dmoerm::cli {

/// Warn if some of the data's prompts are in the train split of a run in whose directory one of the models lies. Of a bundle that
/// was copied elsewhere nobody knows.
void warn_of_trained_prompts(const std::vector<eval::ModelSpec>& models, const eval::Data& data);

}  // namespace dmoerm::cli
