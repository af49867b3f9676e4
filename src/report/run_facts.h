// What a run has left in its directory, as far as it can be read. A part that is missing or damaged says so and hides no other.
#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "watch/run_state.h"

namespace dmoerm::report {

inline constexpr std::uint64_t kSeed = 17;  ///< Of all resampling, so that an interval is the same wherever it is shown

/// The content of a JSON file, or a sentence that says why there is none.
struct Part {
  nlohmann::json value;
  std::string missing;
  bool damaged = false;  ///< The file is there and cannot be read

  [[nodiscard]] bool there() const { return missing.empty(); }
};
/// @param otherwise  the sentence for a file that does not exist
Part read_part(const std::filesystem::path& file, const std::string& otherwise);

/// One training: a line of numbers for each evaluation.
struct Training {
  std::string task;                   ///< Its folder: "base/chat", "expert/chat/logic+tone/logic"
  std::string kind, category, point;  ///< "base", "chat", "" or "expert", "chat", "logic"
  std::vector<nlohmann::json> lines;  ///< Objects with a number `step`, as in metrics.jsonl
};

/// A period in which ranks worked on a task. Times are seconds since 1970.
struct Period {
  std::string task, outcome;  ///< done, failed, paused, stopped, retry; "" if its end is not known
  std::vector<int> ranks;
  double start = 0, end = 0;
};

/// The periods of one start of the run.
struct Start {
  double began = 0, ended = 0;
  std::vector<int> nodes;  ///< Number of each rank's host, by rank
  std::vector<Period> periods;
};

struct Run {
  std::filesystem::path folder;
  std::string name;
  std::vector<std::string> categories;                     ///< In the order of the configuration, as far as it is known
  std::map<std::string, std::vector<std::string>> points;  ///< By category
  std::string config;                                      ///< config.yaml; "" if it cannot be read
  Part report, cost, ingest, labels, bundle;
  std::map<std::string, Part> results, scores;  ///< results.json and scores.json by category
  std::map<std::string, Part> manifests;        ///< By task
  std::vector<Training> trainings;
  std::vector<Start> starts;
  std::optional<watch::RunState> state;

  /// "3 of 29 tasks are done"; "" if the run is complete or its tasks are not known.
  [[nodiscard]] std::string unfinished() const;
};

/// Which experts the run did not train but took over from elsewhere, in one sentence; "" if it trained all.
std::string imported_experts_text(const Run& run);

/// @throws ConfigError if the directory does not exist or is not that of a run (expect_run_directory)
Run read_run(const std::filesystem::path& folder);
/// The run's directory without links and "..", which tells it from others of the same name.
std::filesystem::path directory_of(const Run& run);

}  // namespace dmoerm::report
