#include "config/problems.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"

namespace dmoerm::config {
namespace {

constexpr std::size_t kShown = 100;  // a file with more is probably not a configuration

}  // namespace

std::string Problems::place(const Position& where) const {
  if (where.source > 0) return "--set " + overrides_.at(static_cast<std::size_t>(where.source) - 1);
  return fmt::format("{}:{}:{}", file_, where.line, where.column);
}

void Problems::throw_if_any() const {
  if (problems_.empty()) return;
  std::vector<Problem> sorted = problems_;
  std::stable_sort(sorted.begin(), sorted.end(), [](const Problem& a, const Problem& b) { return a.where < b.where; });
  std::string text;
  for (std::size_t i = 0; i < std::min(sorted.size(), kShown); ++i) {
    text += fmt::format("{}{}: {}", i == 0 ? "" : "\n", place(sorted[i].where), sorted[i].message);
  }
  if (sorted.size() > kShown) text += fmt::format("\n... and {} more problems", sorted.size() - kShown);
  throw ConfigError(ErrorCode(), text);
}

}  // namespace dmoerm::config
