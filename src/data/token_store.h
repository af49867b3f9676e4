// The token store: one HDF5 file of tokenised groups with their labels. `ingest` writes it once; all later tasks read it.
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
#include "preference/ordered_pairs.h"

namespace dmoerm::data {

/// One tokenised group. Its spans point into the store.
struct TokenGroup {
  std::string_view id;
  std::int32_t category = 0;  ///< index into TokenStore::categories()
  preference::Split split = preference::Split::train;
  float weight = 1.0F;                                   ///< weight of its input file
  std::uint64_t prompt_key = 0;                          ///< key of the whole prompt; equal prompts have equal ones
  std::uint64_t session_key = 0;                         ///< key of its conversation, see preference::session_key()
  std::span<const std::int32_t> prefix;                  ///< tokens common to all responses
  std::vector<std::span<const std::int32_t>> responses;  ///< tokens of each response after the prefix, at least one
  std::span<const std::int32_t> prompt;                  ///< ids of the prompt alone, for the router
  std::int64_t prompt_tokens = 0;                        ///< tokens of prefix and response together that are the prompt's
};

/// Stores of so many bytes are mapped and not read into memory: opening them again takes no time.
inline constexpr std::uintmax_t kMappedFrom = std::uintmax_t{16} << 20;

/// The store as its readers see it. Schema, checksums and ranges are verified when it is opened; for a store that is mapped, when
/// it is opened for the first time since it changed (columns_file.h).
class TokenStore {
 public:
  /// @param mapped_from  size in bytes of the file from which on it is mapped
  /// @throws IoError if the file cannot be read, DataError if it is damaged or of another schema
  /// A store of 0.1 has no keys: the stored ids of a prompt make both, as 0.1 split by them.
  static TokenStore open(const std::filesystem::path& path, std::uintmax_t mapped_from = kMappedFrom);
  ~TokenStore();
  TokenStore(TokenStore&&) noexcept;

  [[nodiscard]] std::int64_t size() const;  ///< number of groups
  [[nodiscard]] TokenGroup group(std::int64_t index) const;
  /// File and line that a group was read from.
  [[nodiscard]] std::pair<std::string_view, std::int64_t> source(std::int64_t index) const;
  [[nodiscard]] const std::vector<std::string>& categories() const;
  [[nodiscard]] const std::vector<std::string>& labels() const;  ///< "overall" and "<category>/<point>"
  /// Index in labels() of a label ("overall" or a point) of a category, or -1.
  [[nodiscard]] std::int32_t label_index(std::int32_t category, std::string_view label) const;

  /// Strictly ordered pairs of a group under one label ("overall" or a capability point of its category), each once, from stated
  /// pairs, consistent verdicts and score gaps of at least score_gap_min (any gap if it is 0), and the ties if they are asked
  /// for.
  /// @see preferences_of()
  [[nodiscard]] std::vector<preference::Preference> preferences(std::int64_t group, std::string_view label, double score_gap_min,
                                                                preference::Ties ties = preference::Ties::left_out) const;

  /// Scores of a group's responses under one label; NaN where a response has none.
  [[nodiscard]] std::vector<double> scores(std::int64_t group, std::string_view label) const;

  /// Hash of the store's content. Stores with equal groups, tokens and labels have equal digests.
  [[nodiscard]] const std::string& digest() const;
  /// JSON that ingest wrote about the store: tokenizer, name and hash of the template, inputs, counts.
  [[nodiscard]] const std::string& provenance() const;
  /// Tokens at the start of every text that are never cut, such as a BOS.
  [[nodiscard]] std::int64_t head_tokens() const;

 private:
  struct Impl;
  explicit TokenStore(std::unique_ptr<Impl> impl);
  /// Make the keys of a store that has none from the stored prompts.
  void make_keys();
  std::unique_ptr<Impl> impl_;
};

}  // namespace dmoerm::data
