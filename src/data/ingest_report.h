// The report of an ingest, for people and for programs.
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

/// Number of strictly ordered pairs: category -> label ("overall" or a point) -> split.
using PairCounts = std::map<std::string, std::map<std::string, std::array<std::int64_t, 3>>>;

struct IngestReport {
  struct Input {
    std::string path, format;
    std::int64_t groups = 0;                              ///< number of groups that are used
    std::map<std::string, std::set<std::string>> labels;  ///< category -> points with labels, configured or not
    std::int64_t without_category = 0;  ///< groups of InputGroup::without_category, also those left out for their category
  };
  std::vector<Input> inputs;
  std::map<std::string, std::map<std::string, SplitCounts>> counts;  ///< category -> split
  PairCounts pairs;                                                  ///< pairs by the clear margin of each category
  std::map<std::string, std::map<std::string, std::int64_t>>
      cut;                                      ///< category -> "prompts" or "responses" -> number that lost tokens
  std::map<std::string, std::int64_t> dropped;  ///< reason -> number of rows
  std::map<std::string, std::int64_t> noted;    ///< remark -> number of rows that were kept all the same
  std::map<std::string, std::map<std::string, std::int64_t>> verdicts;  ///< category/point -> outcome -> count
  std::string digest;                                                   ///< digest of the store's content
  std::filesystem::path dropped_file;  ///< file with a JSON line (file, line, reason) for each dropped row
};

/// The files with groups of rows that name no category: "a.jsonl 20, b.jsonl 10"; "" if there are none.
std::string files_without_category(const std::vector<IngestReport::Input>& inputs);

/// The report as a text for people.
std::string to_text(const IngestReport& report);
/// The report for programs.
nlohmann::json to_json(const IngestReport& report);

}  // namespace dmoerm::data
