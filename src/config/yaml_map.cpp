#include "config/yaml_map.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>

#include "config/nearest.h"
#include "config/values.h"

namespace dmoerm::config {
namespace {

using config::Tree;

const char* kind_name(Tree::Kind kind) {
  switch (kind) {
    case Tree::Kind::null:
      return "nothing";
    case Tree::Kind::scalar:
      return "a single value";
    case Tree::Kind::list:
      return "a list";
    case Tree::Kind::map:
      return "a map";
  }
  return "";
}

}  // namespace

YamlMap::YamlMap(const Tree& tree, std::string name, std::vector<std::string> known, config::Problems& problems)
    : tree_(tree), name_(std::move(name)), problems_(problems) {
  if (tree.kind != Tree::Kind::map) {
    problems.add(
        tree.where, "wrong-kind-of-value",
        fmt::format("{}: expected a map{}, found {}", name_.empty() ? "file" : name_,
                    known.empty() ? "" : fmt::format(" with the keys {}", fmt::join(known, ", ")), kind_name(tree.kind)));
    return;
  }
  std::map<std::string_view, const Tree::Entry*> firsts;
  for (const Tree::Entry& entry : tree.entries) {
    if (const auto [first, added] = firsts.emplace(entry.key, &entry); !added) {
      problems.add(entry.where, "key-given-twice",
                   fmt::format("{}: given twice, first in line {}", path(entry.key), first->second->where.line));
      continue;
    }
    if (!known.empty() && std::ranges::find(known, entry.key) == known.end()) {
      const auto close = config::nearest(entry.key, known);
      problems.add(
          entry.where, "unknown-key",
          fmt::format("{}: unknown key, {}", path(entry.key),
                      close ? fmt::format("did you mean {}?", *close) : fmt::format("there are {}", fmt::join(known, ", "))));
      continue;
    }
    entries_.push_back(&entry);
  }
}

const Tree* YamlMap::value(const std::string& key) {
  if (tree_.kind != Tree::Kind::map) return nullptr;
  if (const Tree::Entry* entry = tree_.find(key)) return &entry->value;
  problems_.add(tree_.where, "missing-key", fmt::format("{}: missing", path(key)));
  return nullptr;
}

std::string YamlMap::text(const std::string& key) {
  const Tree* tree = value(key);
  return tree ? yaml_text(*tree, path(key), problems_) : "";
}

bool YamlMap::truth(const std::string& key) {
  bool result = false;
  const Tree* tree = value(key);
  if (!tree) return result;
  if (const std::string wrong = config::read_value(*tree, result); !wrong.empty())
    problems_.add(tree->where, "invalid-value", path(key) + ": " + wrong);
  return result;
}

std::string yaml_text(const Tree& tree, const std::string& name, config::Problems& problems) {
  std::string text = tree.text;
  text.erase(text.find_last_not_of("\r\n") + 1);
  if (tree.kind != Tree::Kind::scalar) {
    problems.add(tree.where, "wrong-kind-of-value", fmt::format("{}: expected a text, found {}", name, kind_name(tree.kind)));
  } else if (text.find_first_not_of(" \t\r\n") == std::string::npos) {
    problems.add(tree.where, "empty-text", fmt::format("{}: is empty", name));
  } else {
    return text;
  }
  return "";
}

}  // namespace dmoerm::config
