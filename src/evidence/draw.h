// The data of whole runs of the experiment: what each run learns from, and the prompts that all of them are tested on.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "evidence/regime.h"
#include "preference/group.h"

namespace dmoerm::evidence {

/// Which prompts runs learn from and are tested on. All draws share them.
struct DrawSettings {
  std::int64_t trained = 150;    ///< Prompts of a category that a run learns from; 0 = all that are not tested
  std::int64_t tested = 150;     ///< Prompts of a category that it is tested on; 0 = all of one fold in five
  std::int64_t block_lines = 1;  ///< Lines of a data file that are in one fold, as they may be of one document
  std::string cluster = {};      ///< Key of the rows whose value says so instead, such as their document
  std::uint64_t seed = 17;
};

/// The prompts of a category in one draw, in the order of a hash. The test split of the data is not among them.
struct DrawnCategory {
  std::string name;
  std::vector<std::int64_t> groups;      ///< Of the store
  std::vector<preference::Split> split;  ///< A fold is tested; another is what training validates by
  std::vector<std::int64_t> block;       ///< cluster_number()
  PairLists overall;                     ///< Of tested prompts those of the data; of others those of the regime, and none of most
};

/// The prompts of all draws, with the overall pairs of the data. The data files are read again if a key of clusters is named.
/// @throws DataError for a category in which no prompt is left to be tested or to train on; as clusters_of()
std::vector<DrawnCategory> choose_prompts(const config::RunConfig& config, const data::TokenStore& store,
                                          const DrawSettings& settings);
/// The same prompts with the labels of one draw. @param draw  seed of the labelled prompts and of noise
std::vector<DrawnCategory> draw_labels(const config::RunConfig& config, const data::TokenStore& store, const StoreScores& scores,
                                       std::vector<DrawnCategory> chosen, const Regime& regime, std::uint64_t draw);

/// Write the prompts of a draw as rows of the format native. Overall labels are stated pairs; those of points are scores.
/// @param texts  the file of data::write_selected_groups() for the store's configuration
/// @throws DataError if it lacks a prompt of the draw
void write_draw(const std::vector<DrawnCategory>& categories, const data::TokenStore& store, const std::filesystem::path& texts,
                const std::filesystem::path& output);

}  // namespace dmoerm::evidence
