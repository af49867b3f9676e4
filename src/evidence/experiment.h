// The cells of the experiment: each category in each outer fold under each regime of labels, a file each.
#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "evidence/blocks.h"
#include "evidence/category_arms.h"
#include "evidence/feature_space.h"
#include "evidence/state_cache.h"

namespace dmoerm::evidence {

constexpr std::int64_t kOuterFolds = 5;

struct ExperimentSettings {
  std::vector<Reading> readings;
  std::int64_t components = 128;
  std::int64_t seeds = 10;
  std::int64_t block_lines = 1;  ///< Lines of a data file whose prompts are never in two folds, as they may be of one document
  std::string cluster = {};      ///< Key of the rows whose value says so instead, such as their document
  std::uint64_t seed = 17;
  bool inner = false;  ///< Whether to do the cells of the inner layer alone, too
};

/// The categories of whose groups no cells can be made, and why: "has ...". Known before any state is computed.
/// @param groups  of each category of the store  @param test  whether they are those of the test split
/// @throws DataError if that is so of all, or what clusters_of() throws
std::map<std::string, std::string> untestable(const config::RunConfig& config, const data::TokenStore& store,
                                              const std::vector<std::vector<std::int64_t>>& groups, bool test,
                                              const ExperimentSettings& settings);

class Experiment {
 public:
  /// @param groups  of each category of the store; only those whose states are there are used
  /// @param tested  the test split's groups of each category, if those are to be tested once, by models of all `groups`; empty:
  ///   `groups` are tested by models of the other folds
  Experiment(const config::RunConfig& config, const data::TokenStore& store, const StoreScores& scores, const StateCache& cache,
             const std::vector<std::vector<std::int64_t>>& groups, const std::vector<std::vector<std::int64_t>>& tested,
             const ExperimentSettings& settings);

  /// Do the cells that have no file yet, or one of another basis or of fewer seeds, a part on each rank.
  /// @throws Stopped on a signal, after the cell under way
  void run(const std::vector<Regime>& regimes, const std::filesystem::path& folder, const comm::Communicator& ranks);
  [[nodiscard]] const std::vector<CategoryData>& categories() const { return categories_; }

 private:
  /// @param apart  how many of the groups, the last ones, are of the test split
  [[nodiscard]] CategoryData category_of(const config::CategoryConfig& config, const std::vector<std::int64_t>& groups,
                                         std::size_t apart) const;
  /// Notes of each group the folds in which categories test its conversation or cluster: with several categories of the same
  /// prompts, models over all of them would learn from what is tested.
  void note_tested_conversations();
  /// Everything that a cell's figures depend on, but its regime, fold and number of seeds.
  [[nodiscard]] nlohmann::json basis_of(const std::string& model) const;
  [[nodiscard]] bool done(const std::filesystem::path& cell) const;
  void write(const std::filesystem::path& path, nlohmann::json cell) const;
  /// The readings of all responses and prompts in the principal components of those outside a fold.
  [[nodiscard]] ReadingsByGroup features(std::int64_t fold) const;
  /// What the arms of a category learn from, the mean over seeds: {"overall", "points": {"prompts", "pairs"}}.
  [[nodiscard]] nlohmann::json labels_seen(const Regime& regime, const CategoryData& category, std::int64_t fold) const;
  void single_cell(const Regime& regime, std::int64_t fold, const at::Tensor& x_NF, const std::filesystem::path& path) const;
  void inner_cell(const Regime& regime, std::int64_t fold, const at::Tensor& x_NF, const std::filesystem::path& path) const;
  /// Of each category, without arms yet.
  [[nodiscard]] std::vector<ArmTable> tables_of_all(std::int64_t fold) const;
  /// Writes the cell of arms over all categories.
  void write_of_all(const std::filesystem::path& path, const std::vector<ArmTable>& tables) const;
  void category_cell(const Regime& regime, CategoryArms& arms, const CategoryData& category, std::int64_t fold,
                     const std::filesystem::path& path) const;

  const data::TokenStore& store_;
  const StoreScores& scores_;
  ExperimentSettings settings_;
  BlockRule blocks_;
  std::int64_t folds_;  ///< 1 if the test split is tested, whose groups are fold 0
  std::vector<CategoryData> categories_;
  std::map<std::string, std::string> left_out_;        ///< Categories that cannot be tested, and why
  std::map<std::string, std::string> without_states_;  ///< Categories some of whose prompts have no states: "has states of ..."
  ReadingsByGroup readings_;
  at::Tensor bag_NB_;
  nlohmann::json basis_;
};

}  // namespace dmoerm::evidence
