// Turns groups into rows of a token store and streams them to its file.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <unordered_map>
#include <vector>

#include "config/run_config.h"
#include "data/group_layout.h"
#include "data/ingest_report.h"
#include "data/token_store_hdf5.h"
#include "preference/group.h"

namespace dmoerm::data {

/// Names numbered in the order of their first use.
class NumberedNames {
 public:
  std::int32_t number_of(const std::string& name);
  [[nodiscard]] const std::vector<std::string>& list() const { return list_; }

 private:
  std::vector<std::string> list_;
  std::unordered_map<std::string, std::int32_t> numbers_;
};

/// preference::prompt_key() and session_key() of a group's prompt.
struct PromptKeys {
  std::uint64_t prompt = 0, session = 0;
};

class StoreBuilder {
 public:
  /// @param categories  names of all categories in the order of their numbers
  /// @param threads     of StoreFile. @throws IoError
  StoreBuilder(const std::filesystem::path& path, const std::vector<std::string>& categories, int threads);

  /// Add one group.
  /// @param layout        tokens of the group
  /// @param prompt        ids of the prompt alone, already cut
  /// @param score_gap_min  of the category, for the counts of pairs
  void add(const preference::Group& group, const PromptKeys& keys, const GroupLayout& layout,
           const std::vector<std::int32_t>& prompt, preference::Split split, double weight,
           const config::ScoreGap& score_gap_min);
  /// Number of strictly ordered pairs so far.
  [[nodiscard]] const PairCounts& pairs() const { return pairs_; }
  /// Number of groups without any such pair.
  [[nodiscard]] std::int64_t groups_without_pairs() const { return groups_without_pairs_; }
  /// Write the rest and close. @throws IoError
  void finish(const std::string& provenance, std::int64_t head_tokens);

 private:
  StoreColumns columns_of(const preference::Group& group, const PromptKeys& keys, const GroupLayout& layout,
                          const std::vector<std::int32_t>& prompt);
  std::int32_t label_of(const preference::Group& group, const std::string& label);
  void count_pairs(const StoreColumns& one, const std::string& category, preference::Split split,
                   const config::ScoreGap& score_gap_min);
  void append(StoreColumns& one);

  StoreFile file_;
  StoreColumns columns_;  ///< values that are not in the file yet
  NumberedNames categories_, labels_, files_;
  std::int64_t groups_ = 0, responses_ = 0, groups_without_pairs_ = 0;
  PairCounts pairs_;
};

}  // namespace dmoerm::data
