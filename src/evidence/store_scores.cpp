#include "evidence/store_scores.h"

#include <algorithm>
#include <string>

#include "data/preference_rule.h"
#include "data/token_store_hdf5.h"
#include "preference/group.h"

namespace dmoerm::evidence {
namespace {

data::StoreColumns read_columns(const std::filesystem::path& store, data::StoreAttributes& attributes) {
  data::StoreColumns columns;
  std::string digest;
  data::read_store(store, columns, attributes, digest);
  return columns;
}

}  // namespace

StoreScores::StoreScores(const std::filesystem::path& store)
    : columns_(read_columns(store, attributes_)), index_(columns_, attributes_) {}

std::vector<double> StoreScores::of(std::int64_t group, std::string_view label) const {
  const auto g = static_cast<std::size_t>(group);
  std::string name(label);
  if (label != preference::kOverall) name = attributes_.categories[static_cast<std::size_t>(columns_.category[g])] + "/" + name;
  const auto wanted = std::ranges::find(attributes_.labels, name) - attributes_.labels.begin();
  std::vector<double> scores;
  for (auto r = static_cast<std::size_t>(index_.responses[g]); r < static_cast<std::size_t>(index_.responses[g + 1]); ++r) {
    scores.push_back(wanted == data::kOverallLabel ? columns_.overall[r] : preference::kMissing);
    for (auto i = static_cast<std::size_t>(index_.scores[r]); i < static_cast<std::size_t>(index_.scores[r + 1]); ++i) {
      if (columns_.score_label[i] == wanted) scores.back() = columns_.score_value[i];
    }
  }
  return scores;
}

}  // namespace dmoerm::evidence
