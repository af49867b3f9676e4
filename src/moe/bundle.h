// The finished model as one directory: what `run` writes and `score` reads, with the tokenizer and the template it was trained
// on.
#pragma once
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "moe/model.h"
#include "preference/group.h"
#include "tokenizer/chat_template.h"
#include "tokenizer/tokenizer.h"

namespace dmoerm::moe {

struct Bundle {
  std::filesystem::path directory;
  Model model;
  std::shared_ptr<const tokenizer::Tokenizer> tokenizer;
  std::shared_ptr<const tokenizer::ChatTemplate> chat_template;
  nlohmann::json provenance;  ///< run name, config hash, data digest, figures
};

/// A prompt and its responses as ids of a bundle's tokenizer. @throws DataError for an empty prompt or response
TokenTexts tokenize(const Bundle& bundle, const std::vector<preference::Message>& prompt,
                    const std::vector<std::string>& responses);

/// Model::score() of texts. @throws DataError as tokenize() and Model::score()
GroupScore score_texts(const Bundle& bundle, const std::vector<preference::Message>& prompt,
                       const std::vector<std::string>& responses, const std::string& category = "");

}  // namespace dmoerm::moe
