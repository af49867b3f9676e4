#include "base/summed_json.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/files.h"
#include "base/hash.h"

namespace dmoerm {
namespace {

/// Another layout of the same values, as an editor or a copy between systems makes it, does not count as a change.
std::string without_spaces(std::string_view text) {
  std::string kept;
  std::ranges::copy_if(text, std::back_inserter(kept), [](char c) { return c != ' ' && (c < '\t' || c > '\r'); });
  return kept;
}

}  // namespace

void write_summed_json(const std::filesystem::path& path, nlohmann::json value) {
  value[kOwnSum] = "";
  value[kOwnSum] = sha256_hex(without_spaces(value.dump(2)));
  write_json_atomically(path, value);
}

bool has_own_sum(std::string_view text) {
  std::string rest = without_spaces(text);
  const std::string entry = '"' + std::string(kOwnSum) + R"(":")";  // in a text of the file the quotation marks are escaped
  const std::size_t found = rest.find(entry);
  if (found == std::string::npos) return true;
  const std::size_t begin = found + entry.size(), end = rest.find('"', begin);
  if (end == std::string::npos) return false;
  const std::string sum = rest.substr(begin, end - begin);
  rest.erase(begin, sum.size());
  return sha256_hex(rest) == sum;
}

}  // namespace dmoerm
