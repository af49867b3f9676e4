// A text cut into pieces, on which pre-tokenizers work, and the ways to cut it.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace dmoerm::tokenizer {

/// The bytes [begin, end) of a text.
struct Piece {
  std::uint32_t begin, end;
};

/// A stretch of a piece that a pattern matched, or one between matches. Matches cover the piece in order.
struct Match {
  std::uint32_t begin, end;
  bool is_match;
};

/// What a split does with the matches of its pattern.
enum class Behavior : std::uint8_t { removed, isolated, merged_with_previous, merged_with_next, contiguous };

struct RegexScratch;

/// Buffers of an encode() call, which the next call reuses.
struct PieceScratch {
  std::vector<Match> matches;
  std::vector<Piece> pieces;
  std::string text;
  std::shared_ptr<RegexScratch> regex;  // buffers of PCRE2, made by the first search
};

/// A text and its pieces. `text` belongs to the caller, or is `storage` after a step had to rewrite it.
struct Pieces {
  std::string_view text;
  std::string storage;
  std::vector<Piece> pieces;
  bool at_start = true;  ///< whether the first piece begins where the user's text begins

  void reset(std::string_view new_text, bool starts) {
    text = new_text;
    at_start = starts;
    pieces.assign(1, {0, static_cast<std::uint32_t>(new_text.size())});
  }
  [[nodiscard]] std::string_view view(Piece piece) const { return text.substr(piece.begin, piece.end - piece.begin); }
};

/// Append the pieces into which `matches` cut one piece. Empty pieces are dropped.
void append_pieces(std::vector<Piece>& out, const std::vector<Match>& matches, Behavior behavior);

/// Cut every piece. @param find  function find(text, piece, matches) that appends the matches of one piece
template <class Find>
void split_pieces(Pieces& in, PieceScratch& scratch, Behavior behavior, Find find) {
  scratch.pieces.clear();
  for (const Piece piece : in.pieces) {
    scratch.matches.clear();
    find(in.text, piece, scratch.matches);
    append_pieces(scratch.pieces, scratch.matches, behavior);
  }
  in.pieces.swap(scratch.pieces);
}

}  // namespace dmoerm::tokenizer
