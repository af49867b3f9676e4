// The "added_tokens" of tokenizer.json: texts that become one token before anything else looks at them.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/json.h"

namespace dmoerm::tokenizer {

struct AddedToken {
  std::string content;
  std::int32_t id = 0;
  bool special = false, normalized = false, single_word = false, lstrip = false, rstrip = false;

  explicit AddedToken(const JsonPart& part);
};

/// Finds added tokens in a text: the leftmost one first, and the longest one if several begin at the same place.
class AddedTokenFinder {
 public:
  /// Add a token. If a pattern is added twice, the later token counts.
  /// @param pattern  text that stands for the token; an empty one is never found
  void add(std::string_view pattern, const AddedToken& token);
  [[nodiscard]] bool empty() const { return tokens_.empty(); }

  /// Call `text_piece(view)` and `token(id)` in the order of the text. Pieces may be empty.
  template <class OnText, class OnToken>
  void split(std::string_view text, bool parse_special, OnText text_piece, OnToken token) const {
    std::size_t done = 0;
    for (std::size_t at = 0; !tokens_.empty();) {
      const Found found = find(text, at, done, parse_special);
      if (found.token < 0) break;
      if (found.begin > done) text_piece(text.substr(done, found.begin - done));
      token(tokens_[static_cast<std::size_t>(found.token)].id);
      done = found.end;
      at = found.resume;
    }
    if (done < text.size()) text_piece(text.substr(done));
  }

 private:
  struct Node {
    std::vector<std::pair<unsigned char, std::int32_t>> next;  // sorted by byte
    std::int32_t token = -1;                                   // token that ends here
  };
  struct Found {
    std::int32_t token = -1;
    std::size_t begin = 0, end = 0;  // with the white space that lstrip and rstrip take
    std::size_t resume = 0;          // place behind the token itself, where the search continues
  };

  [[nodiscard]] std::int32_t child(std::int32_t node, unsigned char byte) const;
  [[nodiscard]] Found find(std::string_view text, std::size_t at, std::size_t done, bool parse_special) const;

  std::vector<AddedToken> tokens_;
  std::vector<Node> nodes_{1};
  bool starts_[256] = {};
};

}  // namespace dmoerm::tokenizer
