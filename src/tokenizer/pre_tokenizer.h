// The "pre_tokenizer" of tokenizer.json, which cuts text into the words that the model tokenises one by one.
#pragma once
#include <memory>

#include "tokenizer/json.h"
#include "tokenizer/pieces.h"

namespace dmoerm::tokenizer {

class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  virtual void apply(Pieces& pieces, PieceScratch& scratch) const = 0;
  /// Whether its pieces are raw bytes, which the model must look up in the byte alphabet of GPT-2.
  [[nodiscard]] virtual bool byte_level() const { return false; }
  /// Whether it treats the start of the user's text differently.
  [[nodiscard]] virtual bool needs_start() const { return false; }

  /// @return nullptr for null. @throws DataError naming the part and what is supported
  static std::unique_ptr<PreTokenizer> parse(const JsonPart& part);
};

}  // namespace dmoerm::tokenizer
