// Figures from the scores that an evaluation kept: calibration, length, and how far experts say the same.
#pragma once
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "eval/calibration.h"
#include "eval/statistics.h"

namespace dmoerm::report {

/// A test group as scores.json has it.
struct ScoredGroup {
  std::int64_t prompt = 0;                            ///< Groups of one prompt have the same number
  std::vector<double> lengths;                        ///< Tokens of each response
  std::map<std::string, std::vector<double>> scores;  ///< Model or "point/NAME" -> one for each response
  std::map<std::string, std::vector<std::pair<std::size_t, std::size_t>>> pairs;  ///< Label -> (better, worse)
};
/// @throws nlohmann::json::exception if it has another form; DataError if a model has not one score for each response
std::vector<ScoredGroup> groups_of(const nlohmann::json& scores);

struct CalibrationFigures {
  std::vector<eval::ReliabilityBin> bins;
  double pairs = 0, error = 0;
  std::optional<double> temperature = {};  ///< None where no temperature is the best
};
/// Of a model on the overall pairs of all groups that it scored.
CalibrationFigures calibration_of(const std::vector<ScoredGroup>& groups, const std::string& model);

/// Names of experts and of the models `extra`, and Spearman's rank correlations of their scores, each less its mean in the group.
/// NaN where one of the two is constant.
struct Correlations {
  std::vector<std::string> names;
  std::vector<std::vector<double>> values;
};
Correlations correlations_of(const std::vector<ScoredGroup>& groups, const std::vector<std::string>& points,
                             const std::vector<std::string>& extra);

struct LengthFigures {
  double correlation = 0;       ///< Spearman's of score and length within groups; NaN without variation
  double prefers_longer = 0;    ///< Share of the pairs of unequal length in which the longer response has the higher score
  double longer_is_better = 0;  ///< Share of them in which the label prefers the longer response
  double pairs = 0;             ///< Pairs of unequal length
  eval::Interval right_if_longer, right_if_shorter;  ///< Accuracy where the longer, the shorter response is the better one
};
LengthFigures length_figures(const std::vector<ScoredGroup>& groups, const std::string& model);

}  // namespace dmoerm::report
