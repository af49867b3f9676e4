// Regular expressions of tokenizer.json (Oniguruma's Ruby syntax), run by PCRE2.
#pragma once
#include <memory>
#include <string>
#include <string_view>

#include "tokenizer/json.h"
#include "tokenizer/pieces.h"

namespace dmoerm::tokenizer {

/// Translate a pattern from Oniguruma's syntax to that of PCRE2. \s, \w, \d and \p{..} get the characters that PCRE2's older
/// Unicode does not have. Only syntax that can be translated exactly is supported. @throws DataError (from `where`) naming other
/// syntax
std::string pcre2_pattern(std::string_view pattern, const JsonPart& where);

/// A compiled pattern. Several threads may use it, each with its own scratch.
class TokenizerRegex {
 public:
  /// @throws DataError if the pattern is not valid, not supported, or can match the empty text
  explicit TokenizerRegex(const JsonPart& pattern);
  /// Append the matches and the stretches between them, which together cover the piece. The piece is matched as a separate text.
  /// @throws DataError if the pattern needs more than the limit of steps
  void find(std::string_view text, Piece piece, PieceScratch& scratch, std::vector<Match>& matches) const;

 private:
  struct Code;
  std::shared_ptr<const Code> code_;
  std::string where_;
};

}  // namespace dmoerm::tokenizer
