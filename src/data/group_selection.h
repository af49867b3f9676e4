// Which groups of the inputs a run uses: its splits, without duplicates, thinned. The same for tokens (ingest) and for texts
// (labelling).
#pragma once
#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <unordered_set>

#include "config/affects.h"
#include "data/ingest_survey.h"

namespace dmoerm::data {

class GroupSelection {
 public:
  /// Reads the inputs once, as survey_inputs().
  explicit GroupSelection(const IngestRequest& request);

  /// Settle the split of the next group of the second pass and thin its responses. @return why it is left out, "" if it is not
  /// @throws DataError if the file has changed since the first pass
  std::string select(InputGroup& item);
  [[nodiscard]] const std::vector<std::string>& categories() const { return survey_.categories; }

 private:
  const IngestRequest& request_;
  const Survey survey_;
  std::unordered_set<TextKey, TextKeyHash> seen_;
};

/// The settings that affect which groups are selected (or some other stage that reads the inputs), with the files' checksums:
/// what a task over selected groups depends on. @throws IoError
nlohmann::json selection_settings(const config::RunConfig& config, config::Affects affects = config::Affects::groups);

/// Write the selected groups as lines of pair::to_json_line(), whole or not at all.
/// @return how many
/// @throws as ingest()
std::int64_t write_selected_groups(const config::RunConfig& config, const std::filesystem::path& path);

}  // namespace dmoerm::data
