#include "tokenizer/pieces.h"

namespace dmoerm::tokenizer {

void append_pieces(std::vector<Piece>& out, const std::vector<Match>& matches, Behavior behavior) {
  const std::size_t first = out.size();
  const auto add = [&out](const Match& match) {
    if (match.begin != match.end) out.push_back({match.begin, match.end});
  };
  switch (behavior) {
    case Behavior::isolated:
      for (const Match& match : matches) add(match);
      return;
    case Behavior::removed:
      for (const Match& match : matches)
        if (!match.is_match) add(match);
      return;
    case Behavior::contiguous:
    case Behavior::merged_with_previous: {
      // A match joins the stretch before it. Several matches in a row join only if the behaviour is contiguous, which also joins
      // stretches that do not match.
      bool previous = false;
      for (const Match& match : matches) {
        const bool joins = behavior == Behavior::contiguous ? match.is_match == previous : match.is_match && !previous;
        if (joins && out.size() > first) {
          out.back().end = match.end;
        } else {
          add(match);
        }
        previous = match.is_match;
      }
      return;
    }
    case Behavior::merged_with_next: {
      // A match joins the stretch after it. Of several matches in a row only the last one does.
      for (std::size_t i = 0; i < matches.size(); ++i) {
        const bool joins = matches[i].is_match && i + 1 < matches.size() && !matches[i + 1].is_match;
        add(joins ? Match{matches[i].begin, matches[i + 1].end, false} : matches[i]);
        if (joins) ++i;
      }
      return;
    }
  }
}

}  // namespace dmoerm::tokenizer
