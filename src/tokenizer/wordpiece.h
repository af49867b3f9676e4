// WordPiece: takes the longest known piece at the start of a word, then the longest known continuations.
#pragma once
#include "tokenizer/model.h"

namespace dmoerm::tokenizer {

class WordPiece : public Model {
 public:
  WordPiece(const JsonPart& part, const TokenMap& vocabulary);
  void encode(std::string_view word, ModelScratch& scratch, std::vector<std::int32_t>& ids) const override;

 private:
  void encode_whole(std::string_view word, std::vector<std::int32_t>& ids) const;

  const TokenMap& vocabulary_;
  TokenMap continuations_;                              // continuation pieces without their prefix
  std::size_t longest_ = 0, longest_continuation_ = 0;  // bytes
  std::size_t most_characters_ = 0;
  std::int32_t unknown_ = -1;
};

}  // namespace dmoerm::tokenizer
