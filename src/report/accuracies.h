// How often the models of a run are right on its test prompts, and what that allows to say.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "eval/statistics.h"
#include "report/run_facts.h"

namespace dmoerm::report {

struct ModelName {
  const char* key;    ///< As in results.json
  const char* title;  ///< As tables show it
};
/// The models that a report compares, the mixture last.
inline constexpr ModelName kModels[] = {
    {"single", "single model"}, {"category", "one per category"}, {"pooled", "one per category, all labels"},
    {"base", "base alone"},     {"mean", "mean of experts"},      {"dmoerm", "DMoERM"}};
inline constexpr const char* kMixture = "dmoerm";
inline constexpr const char* kAllRow = "all";

/// Results on the test groups of each category and, if there are several categories, of all of them as the row "all".
struct Accuracies {
  std::vector<std::string> rows;                                                    ///< Categories with results, then "all"
  std::map<std::string, std::map<std::string, std::vector<eval::GroupResult>>> of;  ///< Row -> model -> groups
  std::int64_t routed = 0, to_single = 0;  ///< Test prompts, and those of them that the single model scored
  std::vector<std::string> problems;       ///< Categories that could not be read, and why
  std::vector<std::string> damaged;        ///< Those of them whose results are there

  [[nodiscard]] bool empty() const { return rows.empty(); }
  [[nodiscard]] bool has(const std::string& row, const std::string& model) const;
  /// Accuracy with its interval; nothing if the model has no pairs there.
  [[nodiscard]] std::optional<eval::Interval> accuracy(const std::string& row, const std::string& model) const;
  /// The mixture's accuracy less that of `model`, on the same prompts.
  [[nodiscard]] std::optional<eval::Interval> lead(const std::string& row, const std::string& model) const;
  [[nodiscard]] std::size_t prompts(const std::string& row) const;
  [[nodiscard]] double pairs(const std::string& row) const;
};
Accuracies accuracies_of(const Run& run);

enum class Verdict : std::uint8_t { unknown, open, better, worse };

/// What the report says first.
struct Headline {
  Verdict verdict = Verdict::unknown;
  std::string sentence;              ///< Whether the mixture is better than the single model, and how sure that is
  std::vector<std::string> further;  ///< Sentences that qualify it
};
Headline headline_of(const Run& run, const Accuracies& accuracies);

/// Number of the prompt of group i of a category's results. Results of 0.1 name no prompts: each group is one of its own.
std::int64_t prompt_of(const nlohmann::json& results, std::size_t i);

/// "78.0 %", "+24.2 points", "+17.4 to +30.8 points"
std::string share_text(double share);
std::string points_text(double difference);
std::string points_range(const eval::Interval& interval);
/// "78.0 [73.7, 82.1]" in per cent; "-" without an interval
std::string interval_text(const std::optional<eval::Interval>& interval);

}  // namespace dmoerm::report
