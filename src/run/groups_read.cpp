#include "run/groups_read.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "base/hash.h"
#include "base/rng.h"
#include "preference/session_key.h"
#include "train/training_set.h"

namespace dmoerm::run {
namespace {

/// Whether a group of the train split belongs to phase 1, by the store if there is one.
class Phase1 {
 public:
  Phase1(const config::RunConfig& config, const data::TokenStore* store) : config_(config) {
    if (store != nullptr) {
      by_store_.emplace();
      for (const std::int64_t index : train::groups_of(*store, -1, train::Subset::phase1, config)) {
        const auto [file, line] = store->source(index);
        by_store_->emplace(file, line);
      }
    }
  }

  [[nodiscard]] bool has(const preference::Group& group) const {
    if (by_store_) return by_store_->contains({group.file, group.line});
    if (config_.folds > 0) return true;
    return preference::is_in_phase1(preference::session_key(group.prompt), config_.phase1_share, config_.seed);
  }

 private:
  const config::RunConfig& config_;
  std::optional<std::set<std::pair<std::string, std::int64_t>>> by_store_;
};

}  // namespace

std::vector<bool> groups_read(const config::RunConfig& config, label::GroupFile& groups, const data::TokenStore* store) {
  const Phase1 phase1(config, store);
  std::vector<bool> read(groups.entries().size(), false);
  std::map<std::int32_t, std::vector<std::pair<std::uint64_t, std::size_t>>> validation;  // by category, in the order of a draw
  for (std::size_t i = 0; i < read.size(); ++i) {
    const label::GroupFile::Entry& entry = groups.entries()[i];
    if (entry.split == preference::Split::train) read[i] = phase1.has(groups.read(i));
    if (entry.split == preference::Split::validation)
      validation[entry.category].emplace_back(mix64(stable_hash(entry.id) ^ config.seed), i);
  }
  const std::int64_t most = config.experts.train.eval_groups_max;
  for (auto& [category, drawn] : validation) {
    std::ranges::sort(drawn);
    if (most > 0 && std::ssize(drawn) > most) drawn.resize(static_cast<std::size_t>(most));
    for (const auto& [draw, group] : drawn) read[group] = true;
  }
  return read;
}

}  // namespace dmoerm::run
