// The finished model as one directory, which `run` writes and `score` reads, with the tokenizer and the chat template that it was
// trained with.
#pragma once
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "moe/model.h"
#include "moe/score_drift.h"
#include "preference/group.h"
#include "tokenizer/chat_template.h"
#include "tokenizer/tokenizer.h"

namespace dmoerm::moe {

struct Bundle {
  std::filesystem::path directory;
  Model model;
  std::shared_ptr<const tokenizer::Tokenizer> tokenizer;
  std::shared_ptr<const tokenizer::ChatTemplate> chat_template;
  nlohmann::json provenance;                  ///< Run, report key, data digest and seed
  std::optional<ScoreDrift> int8_drift = {};  ///< With int8 weights: how far its golden scores are from the stored ones
};

/// A prompt and its responses as token ids of a bundle's tokenizer. @throws DataError for an empty prompt or response
TokenTexts tokenize(const Bundle& bundle, const std::vector<preference::Message>& prompt,
                    const std::vector<std::string>& responses);

/// Model::score() for texts. @throws DataError as tokenize() and Model::score()
GroupScore score_texts(const Bundle& bundle, const std::vector<preference::Message>& prompt,
                       const std::vector<std::string>& responses, const std::string& category = "");

}  // namespace dmoerm::moe
