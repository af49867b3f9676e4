// The frozen backbone's states of the responses of a store, computed once and kept in files of some groups each.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "data/token_store.h"
#include "nn/backbone.h"

namespace dmoerm::evidence {

/// Which groups of a store take part.
struct GroupChoice {
  std::int64_t of_all = 0;                               ///< Groups of a category that by_category does not name; 0 = all
  std::map<std::string, std::int64_t> by_category = {};  ///< The same for one category
  bool test = false;                                     ///< Groups of the test split instead of those of train and validation
  std::uint64_t seed = 17;
};
/// The groups of each category, in an order that seed and prompts alone decide: a larger number adds groups and keeps the others.
/// Groups without any pair are left out. @throws ConfigError for the name of a category that the store lacks
std::vector<std::vector<std::int64_t>> choose_groups(const data::TokenStore& store, const GroupChoice& choice);

/// What a head can read of a response: the state of its last token, or the mean over its own tokens, after so many layers.
struct Reading {
  std::int64_t depth = 0;
  bool mean = true;
  [[nodiscard]] std::string name() const;  ///< "mean.20", "last.30"
};
/// Both readings of every depth below `layers`, the model's number; of that only the last token, whose final state a head reads.
std::vector<Reading> readings_of(const std::vector<std::int64_t>& depths, std::int64_t layers);

/// Depths of which states are kept by default: a half, two thirds, five sixths and all of the layers.
std::vector<std::int64_t> usual_depths(std::int64_t layers);
/// Refuse depths that are not ascending numbers of layers of the model. @throws ConfigError
void check_depths(const std::vector<std::int64_t>& depths, std::int64_t layers);
/// What heads read by default: the mean after two thirds and five sixths of the layers, the last token after a half and all; of
/// these what states of such depths hold.
std::vector<std::string> usual_readings(const std::vector<std::int64_t>& depths, std::int64_t layers);

/// The folder of the states. A file is named by the tokens of its groups, the model and the depths, so that it serves every store
/// and every choice that holds these groups in a row.
class StateCache {
 public:
  static constexpr std::size_t kPieceGroups = 16;  ///< Groups of a file

  /// @param model  what names the backbone's weights
  StateCache(std::filesystem::path directory, const data::TokenStore& store, std::vector<std::int64_t> depths, std::string model)
      : directory_(std::move(directory)), store_(store), depths_(std::move(depths)), model_(std::move(model)) {}

  /// What names the backbone's weights.
  [[nodiscard]] const std::string& model() const { return model_; }
  /// Compute what is missing, a part of it on each rank. Categories take turns, so that a call that is broken off leaves an equal
  /// number of groups of each. @param tokens_max  tokens of a pass
  /// @return tokens that this rank computed
  /// @throws Stopped on a signal, after the file under way
  std::int64_t fill(const nn::Backbone& backbone, const std::vector<std::vector<std::int64_t>>& groups, std::int64_t tokens_max,
                    const comm::Communicator& ranks) const;
  /// The leading groups whose states are there.
  [[nodiscard]] std::vector<std::int64_t> present(const std::vector<std::int64_t>& groups) const;
  /// States [N, D] of all responses of these groups, in order, float32. @throws IoError, DataError if some are missing
  [[nodiscard]] at::Tensor load(const std::vector<std::int64_t>& groups, const Reading& reading) const;

 private:
  [[nodiscard]] std::filesystem::path file_of(std::span<const std::int64_t> groups) const;
  std::filesystem::path directory_;
  const data::TokenStore& store_;
  std::vector<std::int64_t> depths_;
  std::string model_;
};

}  // namespace dmoerm::evidence
