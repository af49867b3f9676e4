// The categories that an average is over, and figures as text.
#pragma once
#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "evidence/cell_results.h"

namespace dmoerm::evidence {

/// The arm that the experiment is about.
inline constexpr const char* kMethod = "dmoerm";

using Results = std::map<std::string, CategoryResult>;

/// The results of those of the categories that have some, in this order.
std::vector<const CategoryResult*> those(const Results& results, const std::vector<std::string>& names);

/// Of these categories those whose every fold has all of the arms, in this order; all that have results if none has.
std::vector<std::string> having(const Results& results, const std::vector<std::string>& names,
                                const std::vector<std::string>& arms);

/// The categories of an average: those that have DMoERM in every fold, so that each row is over the same ones.
struct Average {
  std::vector<std::string> names;
  std::vector<std::string> without;  ///< Those that have results, and are left out
  /// "The average is over a, b. It is without c, ..." and an empty line; "" if nothing is left out. @param where  "" or "Under
  /// 20-rater, "
  [[nodiscard]] std::string note(const Results& results, const std::string& where = "") const;
};
Average average_of(const Results& results, const std::vector<std::string>& names);

/// "fold 3" or "folds 1, 3": those without DMoERM, counted from 1; "" if every fold has it.
std::string folds_without_method(const CategoryResult& category);
/// "fold 3" or "folds 1, 3". @param folds  counted from 0
std::string folds_text(const std::vector<std::int64_t>& folds);

/// "+0.043 [+0.033, +0.052]", marked where the interval has bounds; "-" without a figure.
std::string text_of(const std::optional<Estimate>& e);
/// [value, low, high], or null.
nlohmann::json json_of(const std::optional<Estimate>& e);

}  // namespace dmoerm::evidence
