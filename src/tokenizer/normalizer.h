// The "normalizer" of tokenizer.json, which rewrites text before it is cut into words.
#pragma once
#include <memory>
#include <string>

#include "tokenizer/json.h"
#include "tokenizer/pieces.h"

namespace dmoerm::tokenizer {

class Normalizer {
 public:
  virtual ~Normalizer() = default;
  /// Rewrite valid UTF-8 in place.
  virtual void apply(std::string& text, PieceScratch& scratch) const = 0;
  /// Whether it may drop characters at the start of a text. If so, later steps cannot tell which word begins the user's text.
  [[nodiscard]] virtual bool may_drop_start() const { return false; }

  /// @return nullptr for null. @throws DataError naming the part and what is supported
  static std::unique_ptr<Normalizer> parse(const JsonPart& part);
};

}  // namespace dmoerm::tokenizer
