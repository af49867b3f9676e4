#include "config/renamed_keys.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <sstream>

namespace dmoerm::config {
namespace {

bool is_number(const std::string& part) {
  return !part.empty() && std::all_of(part.begin(), part.end(), [](char c) { return c >= '0' && c <= '9'; });
}

/// The row of an old key; nullptr if the key was never one. `key` has list elements with their number.
const RenamedKey* find_renamed(const std::string& key) {
  const std::string plain = without_numbers(key);
  const auto* found =
      std::find_if(kRenamedKeys.begin(), kRenamedKeys.end(), [&](const RenamedKey& r) { return r.old_key == plain; });
  return found == kRenamedKeys.end() ? nullptr : found;
}

std::string last_part(std::string_view key) { return std::string(key.substr(key.rfind('.') + 1)); }

/// Put the successor of a retired value in its place.
void replace_retired(const std::string& key, Tree& value, const std::string& place, std::vector<std::string>& warnings) {
  const std::string plain = without_numbers(key);
  for (const RetiredValue& retired : kRetiredValues) {
    if (retired.key != plain || value.kind != Tree::Kind::scalar || value.text != retired.old_value) continue;
    value.text = retired.new_value;
    warnings.push_back(
        fmt::format("{}: {}: {} is retired, {} is taken in its place", place, key, retired.old_value, retired.new_value));
  }
}

/// Give one key and its value today's names. Returns whether the key was an old one.
bool rename_key(std::string& key, Tree& value, const std::string& place, std::vector<std::string>& warnings) {
  replace_retired(key, value, place, warnings);
  const RenamedKey* renamed = find_renamed(key);
  if (renamed == nullptr) return false;
  const std::string new_key = key.substr(0, key.rfind('.') + 1) + last_part(renamed->new_key);
  std::string warning = fmt::format("{}: {} is now called {}", place, key, new_key);
  if (!renamed->old_value.empty() && value.kind == Tree::Kind::scalar && value.text == renamed->old_value) {
    value.text = renamed->new_value;
    warning += fmt::format(", and its value \"{}\" is now called \"{}\"", renamed->old_value, renamed->new_value);
  }
  warnings.push_back(std::move(warning));
  key = new_key;
  return true;
}

void rename_inside(Tree& tree, const std::string& path, Problems& problems, std::vector<std::string>& warnings) {
  const std::string section = path.empty() ? "" : path + ".";
  for (std::size_t i = 0; i < tree.items.size(); ++i)
    rename_inside(tree.items[i], fmt::format("{}{}", section, i), problems, warnings);
  std::set<std::string> doubled;
  for (const Tree::Entry& entry : tree.entries) {
    const RenamedKey* renamed = find_renamed(section + entry.key);
    if (renamed == nullptr || tree.find(last_part(renamed->new_key)) == nullptr) continue;
    problems.add(entry.where, "renamed-key",
                 fmt::format("{}{} is now called {}{}, which is given too: remove {}", section, entry.key, section,
                             last_part(renamed->new_key), entry.key));
    doubled.insert(entry.key);
  }
  std::erase_if(tree.entries, [&](const Tree::Entry& entry) { return doubled.contains(entry.key); });
  for (Tree::Entry& entry : tree.entries) {
    std::string key = section + entry.key;
    if (rename_key(key, entry.value, problems.place(entry.where), warnings)) entry.key = last_part(key);
    rename_inside(entry.value, key, problems, warnings);
  }
}

}  // namespace

std::string without_numbers(const std::string& key) {
  std::istringstream parts(key);
  std::string result;
  for (std::string part; std::getline(parts, part, '.');) {
    if (!is_number(part)) result += (result.empty() ? "" : ".") + part;
  }
  return result;
}

void rename_old_keys(Tree& root, Problems& problems, std::vector<std::string>& warnings) {
  rename_inside(root, "", problems, warnings);
}

void rename_old_key(std::string& key, Tree& value, const Problems& problems, std::vector<std::string>& warnings) {
  rename_key(key, value, problems.place(value.where), warnings);
}

}  // namespace dmoerm::config
