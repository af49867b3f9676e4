// The tables of the experiment, its figure, and the line of figures that ends it.
#pragma once
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "evidence/contrasts.h"
#include "evidence/noise_ceiling.h"

namespace dmoerm::evidence {

struct TableRequest {
  std::filesystem::path folder;      ///< Of the cells
  std::vector<std::string> main;     ///< Categories of the macro-average; if there is none, the small ones are
  std::vector<std::string> small;    ///< Categories that are shown beside it
  std::int64_t prompts_min = 0;      ///< Prompts that make a category one of `main`, for messages
  std::vector<std::string> regimes;  ///< All that have cells
  std::string primary;
  std::int64_t folds = 5;
  std::vector<Contrast> contrasts = {};     ///< Beside those of DMoERM
  std::vector<NoiseCeiling> ceilings = {};  ///< How far raters agree
};

struct Tables {
  std::string markdown;
  nlohmann::json figures;   ///< minus_single, minus_pooled, ...: [value, low, high], or null without both arms; p-values;
                            ///< categories of the average; each table's numbers
  std::string curves_svg;   ///< Accuracy by number of labelled prompts
  std::string best_of_svg;  ///< Gold gain of the best of n; "" without gold scores
};
/// @throws DataError if the primary regime lacks a category; ConfigError for a contrast of what is not there
Tables make_tables(TableRequest request);

}  // namespace dmoerm::evidence
