#include "config/overrides.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/text.h"
#include "config/renamed_keys.h"

namespace dmoerm::config {
namespace {

std::vector<std::string> split(const std::string& path) {
  std::vector<std::string> parts(1);
  for (const char c : path) {
    if (c == '.') {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

bool is_index(const std::string& part) {
  return !part.empty() && part.size() < 7 && std::all_of(part.begin(), part.end(), [](char c) { return c >= '0' && c <= '9'; });
}

/// Element `part` of a list, made if it is the next one; nullptr with a problem otherwise.
Tree* element(Tree& list, const std::string& part, const Position& where, Problems& problems, const std::string& path) {
  std::size_t index = 0;
  if (is_index(part)) std::from_chars(part.data(), part.data() + part.size(), index);
  if (!is_index(part) || index > list.items.size()) {
    problems.add(where, "no-such-list-element",
                 fmt::format("{}: the list before \"{}\" has {} elements; name one by its number, {} to {}", path, part,
                             list.items.size(), 0, list.items.size()));
    return nullptr;
  }
  if (index == list.items.size()) {
    list.items.emplace_back();
    list.items.back().where = where;
  }
  return &list.items[index];
}

Tree* member(Tree& map, const std::string& part, const Position& where) {
  if (Tree::Entry* entry = map.find(part)) return &entry->value;
  map.entries.push_back({part, where, {}});
  map.entries.back().value.where = where;
  return &map.entries.back().value;
}

}  // namespace

void apply_override(Tree& root, const std::string& override, int source, Problems& problems, std::vector<std::string>& warnings) {
  const Position where{source, 1, 1};
  const std::size_t equals = override.find('=');
  std::string path(trim(std::string_view(override).substr(0, equals)));
  if (equals == std::string::npos || path.empty()) {
    problems.add(where, "not-key-equals-value", "an override must be written key=value, for example base.lr=1e-5");
    return;
  }
  std::optional<Tree> parsed = parse_tree(override.substr(equals + 1), source, problems);
  if (!parsed) return;
  Tree& value = *parsed;
  if (value.kind == Tree::Kind::null) {  // "key=" is the empty text
    value.kind = Tree::Kind::scalar;
    value.quoted = true;
  }
  value.where = where;
  rename_old_key(path, value, problems, warnings);

  Tree* node = &root;
  for (const std::string& part : split(path)) {
    if (node->kind == Tree::Kind::scalar) {
      problems.add(where, "key-inside-a-value",
                   fmt::format("{}: \"{}\" cannot be set inside the single value \"{}\"", path, part, node->text));
      return;
    }
    if (node->kind == Tree::Kind::null) node->kind = is_index(part) ? Tree::Kind::list : Tree::Kind::map;
    node = node->kind == Tree::Kind::list ? element(*node, part, where, problems, path) : member(*node, part, where);
    if (node == nullptr) return;
  }
  *node = std::move(value);
}

}  // namespace dmoerm::config
