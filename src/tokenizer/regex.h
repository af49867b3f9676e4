// Regular expressions of tokenizer.json (Oniguruma's Ruby syntax) run by PCRE2.
#pragma once
#include <memory>
#include <string>
#include <string_view>

#include "tokenizer/json.h"
#include "tokenizer/pieces.h"

namespace dmoerm::tokenizer {

/// The part of Oniguruma's syntax that means the same in PCRE2, rewritten where it differs: \s, \w, \d, \p{..} get the characters
/// that PCRE2's older Unicode lacks. @throws DataError (from `where`) naming what is not supported
std::string pcre2_pattern(std::string_view pattern, const JsonPart& where);

/// A compiled pattern; may be used by several threads, each with its own scratch.
class TokenizerRegex {
 public:
  /// @throws DataError if the pattern is wrong, unsupported or can match the empty text
  explicit TokenizerRegex(const JsonPart& pattern);
  /// Append matches and what lies between them, covering the piece. The piece is matched as a text of its own.
  /// @throws DataError if the pattern needs more than the limit of steps
  void find(std::string_view text, Piece piece, PieceScratch& scratch, std::vector<Match>& matches) const;

 private:
  struct Code;
  std::shared_ptr<const Code> code_;
  std::string where_;
};

}  // namespace dmoerm::tokenizer
