// What an ingest did, for people and for programs.
#pragma once
#include <array>
#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <set>
#include <string>
#include <vector>

namespace dmoerm::data {

/// Counts of one category in one split.
struct SplitCounts {
  std::int64_t groups = 0, responses = 0, tokens = 0;
};

/// Strictly ordered pairs: category -> label ("overall" or a point) -> by split.
using PairCounts = std::map<std::string, std::map<std::string, std::array<std::int64_t, 3>>>;

struct IngestReport {
  struct Input {
    std::string path, format;
    std::int64_t groups = 0;                              ///< taken
    std::map<std::string, std::set<std::string>> labels;  ///< category -> points it has labels of, also those not asked for
  };
  std::vector<Input> inputs;
  std::map<std::string, std::map<std::string, SplitCounts>> counts;     ///< category -> split
  PairCounts pairs;                                                     ///< by the clear margin of each category
  std::map<std::string, std::map<std::string, std::int64_t>> cut;       ///< category -> "prompts" | "responses" that lost tokens
  std::map<std::string, std::int64_t> dropped;                          ///< reason -> rows
  std::map<std::string, std::int64_t> noted;                            ///< what else was seen in rows that were kept
  std::map<std::string, std::map<std::string, std::int64_t>> verdicts;  ///< category/point -> outcome -> count
  std::string digest;                                                   ///< of the store's content
  std::filesystem::path dropped_file;                                   ///< JSON lines: file, line, reason
};

/// The report as a text for people.
std::string to_text(const IngestReport& report);
/// The same for programs.
nlohmann::json to_json(const IngestReport& report);

}  // namespace dmoerm::data
