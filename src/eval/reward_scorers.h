// Scores items with a bundle, or with one reward model of a bundle, a run or Hugging Face.
#pragma once
#include <vector>

#include "eval/model_scores.h"
#include "eval/model_spec.h"

namespace dmoerm::eval {

/// Which of the options for models some models take into account.
struct OptionsUsed {
  bool chat_template = false, base = false, bundle = false;  ///< `bundle`: those that are for bundles alone
  OptionsUsed& operator|=(const OptionsUsed& other);
};
/// Those that what lies in a directory uses; all if there is nothing, of which score_directory() says what is wrong.
OptionsUsed options_used_by(const std::string& directory);
/// Refuse a bundle of whose rewards nothing can be taken out, by its manifest alone: before anything is computed.
/// @throws ConfigError
void expect_ablations(const std::string& directory);

/// Score all items with what lies in a directory: a bundle, a part of one (single, experts/C/P), a task of a run (base/C,
/// category/C, expert/C/P), a folder with one of these for each category (base, category), or a reward model of another program
/// (hf/foreign_model.h) with its tokenizer. A bundle gives the scores of `dmoerm score`.
/// @throws ConfigError, DataError, IoError; Stopped after a signal
std::vector<ModelScores> score_directory(const ModelSpec& spec, const Data& data, const ScoringOptions& options,
                                         const OnScored& on_scored);

}  // namespace dmoerm::eval
