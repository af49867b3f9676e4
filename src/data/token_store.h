// The token store: one HDF5 file of tokenised groups with their labels, written once by `ingest`, read by everything after it.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "preference/group.h"
#include "preference/preference.h"

namespace dmoerm::data {

/// One tokenised group; spans point into the store.
struct TokenGroup {
  std::string_view id;
  std::int32_t category = 0;  ///< index into TokenStore::categories()
  preference::Split split = preference::Split::train;
  float weight = 1.0F;                                   ///< of its input file
  std::span<const std::int32_t> prefix;                  ///< tokens common to all responses
  std::vector<std::span<const std::int32_t>> responses;  ///< the rest of each, at least one token
  std::span<const std::int32_t> prompt;                  ///< ids of the prompt alone, for the router
};

/// Read side. Everything is verified at open: schema, checksums, ranges.
class TokenStore {
 public:
  /// @throws IoError if it cannot be read, DataError if it is damaged or of another schema (names both)
  static TokenStore open(const std::filesystem::path& path);
  ~TokenStore();
  TokenStore(TokenStore&&) noexcept;

  [[nodiscard]] std::int64_t size() const;  ///< groups
  [[nodiscard]] TokenGroup group(std::int64_t index) const;
  /// File and line that a group was read from.
  [[nodiscard]] std::pair<std::string_view, std::int64_t> source(std::int64_t index) const;
  [[nodiscard]] const std::vector<std::string>& categories() const;
  [[nodiscard]] const std::vector<std::string>& labels() const;  ///< "overall" and "<category>/<point>" streams
  /// Index of a category's label stream ("overall" or a point) in labels(), or -1.
  [[nodiscard]] std::int32_t label_index(std::int32_t category, std::string_view label) const;

  /// Strictly ordered pairs of a group under one label ("overall" or a capability point of its category): stated pairs,
  /// consistent recorded verdicts, and score gaps >= score_gap_min (any gap > 0 if it is 0), each ordered pair once.
  [[nodiscard]] std::vector<preference::Preference> preferences(std::int64_t group, std::string_view label,
                                                                double score_gap_min) const;

  /// Content hash of the store: equal for equal groups, tokens and labels.
  [[nodiscard]] const std::string& digest() const;
  /// The JSON that ingest wrote about it: tokenizer, template name and hash, inputs, counts.
  [[nodiscard]] const std::string& provenance() const;

 private:
  struct Impl;
  explicit TokenStore(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace dmoerm::data
