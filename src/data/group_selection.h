// Which groups of the inputs a run uses, and in which split: without duplicates, and at most as many as configured. Tokens
// (ingest) and texts (labelling) are selected by the same rule.
#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <unordered_set>

#include "config/affects.h"
#include "data/ingest_survey.h"

namespace dmoerm::data {

class GroupSelection {
 public:
  /// Reads all inputs once with survey_inputs(). The request must outlive the selection.
  explicit GroupSelection(const IngestRequest& request);

  /// Set the split of the next group of the second pass and reduce its responses to the configured
  /// number if it is in the train split.
  /// @return the reason why the group is left out, or "" if it is used
  /// @throws DataError if the file has changed since the first pass
  std::string select(InputGroup& item);
  [[nodiscard]] const std::vector<std::string>& categories() const { return survey_.categories; }
  /// Groups that the first pass read.
  [[nodiscard]] std::int64_t groups() const { return survey_.groups; }

 private:
  const IngestRequest& request_;
  const Survey survey_;
  std::unordered_set<TextKey, TextKeyHash> seen_;
};

/// The settings that affect which groups are selected (or some other stage that reads the inputs), with the files' checksums:
/// what a task over selected groups depends on. @throws IoError
nlohmann::json selection_settings(const config::RunConfig& config, config::Affects affects = config::Affects::groups);

/// What was selected, and what was not.
struct SelectedGroups {
  std::int64_t groups = 0;
  std::map<std::string, std::int64_t> dropped;  ///< reason -> number of rows
  std::map<std::string, std::int64_t> noted;    ///< remark of text_notes() -> number of groups that were selected all the same
};

/// Write the selected groups as lines of preference::to_json_line(). The file appears whole or not at all.
/// @throws what ingest() throws
SelectedGroups write_selected_groups(const config::RunConfig& config, const std::filesystem::path& path);

}  // namespace dmoerm::data
