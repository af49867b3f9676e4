// A YAML document as a plain tree with positions. The only door to yaml-cpp: everything else sees this tree.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "config/problems.h"

namespace dmoerm::config {

/// One value. A map keeps its entries in the order written, duplicate keys included, so that the reader can refuse them.
struct Tree {
  enum class Kind { null, scalar, list, map };
  struct Entry;

  Kind kind = Kind::null;
  std::string text;     ///< a scalar's text
  bool quoted = false;  ///< a scalar in quotes or a block is always a text
  Position where;
  std::vector<Tree> items;     ///< a list's elements
  std::vector<Entry> entries;  ///< a map's entries

  /// First entry of that key, or nullptr.
  Entry* find(const std::string& key);
  const Entry* find(const std::string& key) const;
};

struct Tree::Entry {
  std::string key;
  Position where;
  Tree value;
};

/// Parse one YAML document with its events, so that yaml-cpp's conversions play no part. An alias becomes a copy of what its
/// anchor names, and a merge key (<<) the entries of its maps that the map around it does not have. Refused: more than one
/// document, tags, keys that are not plain text, text that is not UTF-8, control characters, tabs as
/// indentation, more than 1 MiB. The first such problem goes to `problems`, and there is no result then.
/// @param source  Position::source of every value
std::optional<Tree> parse_tree(const std::string& text, int source, Problems& problems);

}  // namespace dmoerm::config
