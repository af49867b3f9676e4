// Data with what models say about it: what the figures of an evaluation are computed from.
#pragma once
#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "eval/item.h"
#include "eval/model_scores.h"
#include "eval/statistics.h"

namespace dmoerm::eval {

inline constexpr const char* kAll = "all";       ///< Row over all categories
inline constexpr const char* kNoCategory = "-";  ///< Row of items whose category is not known

struct EvalOptions {
  std::uint64_t seed = 17;  ///< Seed of the bootstrap
  int resamples = 2000;
  double margin = 0.02;  ///< Difference of accuracies below which two models count as level
};

/// Data and scores, by row of the tables.
struct Scored {
  const Data& data;
  const std::vector<ModelScores>& models;
  EvalOptions options;

  /// Names of the rows with the indices of their items: each category by name, then kAll if there are several.
  [[nodiscard]] std::map<std::string, std::vector<std::size_t>> rows() const;
  /// The ordered pairs of an item that every model has compared.
  [[nodiscard]] std::vector<preference::Preference> compared_pairs(std::size_t item, const std::string& label) const;
};

/// {"value", "low", "high"}
nlohmann::json to_json(const Interval& interval);
/// The same, with "interval": "bounds" where it has bounds.
nlohmann::json marked_json(const Interval& interval);
/// {"name", "source"} of a model; for a server also "server": what it was and how it found prompts; and "doubt", "note" and
/// "ablation_of" if there is one.
nlohmann::json source_json(const ModelScores& model);
/// The doubts and notes about models as a list in Markdown, behind an empty line; "" if there are none. @param models  as
/// source_json() made them
std::string notes_text(const nlohmann::json& models);
/// The number, or null for NaN and infinity.
nlohmann::json finite(double value);

}  // namespace dmoerm::eval
