#include "config/renamed_keys.h"

#include <fmt/format.h>

#include <algorithm>
#include <sstream>

namespace dmoerm::config {
namespace {

bool is_number(const std::string& part) {
  return !part.empty() && std::all_of(part.begin(), part.end(), [](char c) { return c >= '0' && c <= '9'; });
}

/// "labels.judges.0.via" -> "labels.judges.via".
std::string without_numbers(const std::string& key) {
  std::istringstream parts(key);
  std::string result;
  for (std::string part; std::getline(parts, part, '.');) {
    if (!is_number(part)) result += (result.empty() ? "" : ".") + part;
  }
  return result;
}

}  // namespace

const RenamedKey* find_renamed(const std::string& key) {
  const std::string plain = without_numbers(key);
  const auto* found =
      std::find_if(kRenamedKeys.begin(), kRenamedKeys.end(), [&](const RenamedKey& r) { return r.old_key == plain; });
  return found == kRenamedKeys.end() ? nullptr : found;
}

std::string describe_renamed(const RenamedKey& renamed, const std::string& key, const std::string& value) {
  const std::string section = key.substr(0, key.rfind('.') + 1);  // "" for a key of the whole file
  const std::string_view name = renamed.new_key.substr(renamed.new_key.rfind('.') + 1);
  std::string text = fmt::format("this key is now {}{}", section, name);
  if (!renamed.old_value.empty() && value == renamed.old_value)
    text += fmt::format(", and its value \"{}\" is now \"{}\"", renamed.old_value, renamed.new_value);
  return text;
}

}  // namespace dmoerm::config
