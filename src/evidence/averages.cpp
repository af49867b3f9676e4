#include "evidence/averages.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>

namespace dmoerm::evidence {

std::vector<const CategoryResult*> those(const Results& results, const std::vector<std::string>& names) {
  std::vector<const CategoryResult*> found;
  for (const std::string& name : names) {
    if (const auto at = results.find(name); at != results.end()) found.push_back(&at->second);
  }
  return found;
}

std::vector<std::string> having(const Results& results, const std::vector<std::string>& names,
                                const std::vector<std::string>& arms) {
  std::vector<std::string> present, whole;
  for (const std::string& name : names) {
    const auto at = results.find(name);
    if (at == results.end()) continue;
    present.push_back(name);
    if (std::ranges::all_of(arms, [&](const std::string& arm) { return at->second.arms.contains(arm); })) whole.push_back(name);
  }
  return whole.empty() ? present : whole;
}

Average average_of(const Results& results, const std::vector<std::string>& names) {
  Average average{.names = having(results, names, {kMethod}), .without = {}};
  for (const std::string& name : names) {
    if (results.contains(name) && std::ranges::find(average.names, name) == average.names.end()) average.without.push_back(name);
  }
  return average;
}

std::string Average::note(const Results& results, const std::string& where) const {
  if (without.empty()) return "";
  std::vector<std::string> reasons;
  for (const std::string& name : without)
    reasons.push_back(fmt::format("{}, which has no DMoERM in {}", name, folds_without_method(results.at(name))));
  return fmt::format("{}{} average is over {} alone, for every arm. It is without {}.\n\n", where, where.empty() ? "The" : "the",
                     fmt::join(names, ", "), fmt::join(reasons, ", and "));
}

std::string folds_without_method(const CategoryResult& category) {
  std::vector<std::int64_t> without;
  const auto with = category.folds_with.find(kMethod);
  for (std::int64_t fold = 0; fold < category.folds; ++fold) {
    if (with == category.folds_with.end() || !with->second.contains(fold)) without.push_back(fold);
  }
  return without.empty() ? "" : folds_text(without);
}

std::string folds_text(const std::vector<std::int64_t>& folds) {
  std::vector<std::int64_t> from_one;
  for (const std::int64_t fold : folds) from_one.push_back(fold + 1);
  return fmt::format("{} {}", from_one.size() == 1 ? "fold" : "folds", fmt::join(from_one, ", "));
}

std::string text_of(const std::optional<Estimate>& e) {
  return e ? fmt::format("{:+.3f} [{:+.3f}, {:+.3f}]{}", e->value, e->low, e->high, e->few.empty() ? "" : eval::kBoundsMark)
           : "-";
}

nlohmann::json json_of(const std::optional<Estimate>& e) {
  return e ? nlohmann::json::array({e->value, e->low, e->high}) : nlohmann::json();
}

}  // namespace dmoerm::evidence
