// Finds the value of the key "verdict" in a JSON object as judges write it: also with other keys beside it, single quotes or a
// comma too many.
#pragma once
#include <cstddef>
#include <optional>
#include <string_view>

namespace dmoerm::judge {

/// A value and the text around it.
struct ObjectVerdict {
  std::string_view value;   ///< Text of the value without its quotes
  bool quoted = false;      ///< Whether it stood in quotes
  std::string_view before;  ///< Text before the object and after it; one of them is empty
  std::string_view after;
};

/// The verdict of the one object in a text. The object, or a code fence around it, begins the text, or begins a line and ends the
/// text. It has exactly one key "verdict" (in any case), or none and exactly one key like "winner", whose value is a string or a
/// number. Comments (//, #, /* */) inside it are skipped.
/// @return nothing if there is no such object, or if a value beside the verdict has a key "verdict" of its own
std::optional<ObjectVerdict> find_verdict_object(std::string_view text);

}  // namespace dmoerm::judge
