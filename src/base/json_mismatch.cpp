#include "base/json_mismatch.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string_view>

namespace dmoerm {

using nlohmann::json;

std::string json_mismatch(const json::exception& error) {
  std::string_view said = error.what();  // "[json.exception.type_error.302] type must be string, but is null"
  said.remove_prefix(std::min(said.find("] ") == std::string_view::npos ? 0 : said.find("] ") + 2, said.size()));
  const auto between = [&](std::string_view from, std::string_view to) {
    const std::size_t begin = said.find(from);
    if (begin == std::string_view::npos) return std::string_view();
    const std::string_view rest = said.substr(begin + from.size());
    return rest.substr(0, rest.find(to));
  };
  if (error.id == 302)
    return fmt::format("expected a value of type {}, found {}", between("must be ", ","), between("but is ", " ("));
  if (error.id >= 304 && error.id <= 308 && said.find("with ") != std::string_view::npos)
    return fmt::format("expected a value with keys or elements, found one of type {}", said.substr(said.rfind("with ") + 5));
  if (error.id == 403) return fmt::format("the key \"{}\" is missing", between("key '", "'"));
  if (error.id == 401) return "a list has too few elements";
  if (error.id == 406) {
    const std::string_view digits = between("parsing '", "'");
    return fmt::format("the number {}{} is too large", digits.substr(0, 40), digits.size() > 40 ? "..." : "");
  }
  return "a value of another type than expected";
}

}  // namespace dmoerm
