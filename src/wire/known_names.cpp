#include "wire/known_names.h"

#include <fmt/ranges.h>

#include "config/nearest.h"

namespace dmoerm::wire {

std::string known_instead(std::string_view name, const std::vector<std::string>& known, std::string_view lead) {
  const auto meant = config::nearest(name, known);
  return fmt::format("{}; {} {}", meant ? fmt::format(", did you mean {}?", *meant) : "", lead, fmt::join(known, ", "));
}

}  // namespace dmoerm::wire
