// What a model trains or is judged on: groups of the token store with their strictly ordered pairs under one label.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "config/run_config.h"
#include "data/packed_batch.h"
#include "data/token_store.h"
#include "label/point_verdicts.h"

namespace dmoerm::train {

/// One group with the pairs of one label. Only responses that are in some pair are computed.
struct LabelledGroup {
  std::int64_t group = 0;                     ///< index into the store
  std::vector<std::int32_t> responses;        ///< indices into the group's responses
  std::vector<preference::Preference> pairs;  ///< indices into `responses`
};

/// Which part of a category's groups a task sees. Phase 1 and 2 learn on one part of the train split, phase 3 on the other, so
/// that the experts' states that the aggregator learns from are of prompts the experts have not seen.
enum class Part { base, aggregator, train, validation, test };

/// Groups of a part, in the store's order. @param category  index, or -1 for all
std::vector<std::int64_t> groups_of(const data::TokenStore& store, std::int32_t category, Part part,
                                    const config::RunConfig& config);

/// Groups of a part that have at least one pair under `label` ("overall" or a capability point).
std::vector<LabelledGroup> labelled_groups(const data::TokenStore& store, std::int32_t category, Part part,
                                           std::string_view label, const config::RunConfig& config);

/// Groups of a part with all their responses and no pairs: what labels may be about.
std::vector<LabelledGroup> whole_groups(const data::TokenStore& store, std::int32_t category, Part part,
                                        const config::RunConfig& config);

/// Groups of a part that have at least one pair by the judges' verdicts. @param soft  pairs have the share of the votes as their
/// target, inconsistent ones and ties too unless it is a half; else only the believed ones count
std::vector<LabelledGroup> judged_groups(const data::TokenStore& store, std::int32_t category, Part part,
                                         const std::vector<label::JudgedGroup>& verdicts, bool soft,
                                         const config::RunConfig& config);

/// How often a pass takes each group: the rounded weight of its input file.
std::vector<std::int32_t> copies_of(const data::TokenStore& store, const std::vector<LabelledGroup>& groups);

/// Groups that an epoch visits: each as often as copies_of() says, at least once.
std::int64_t epoch_groups(const data::TokenStore& store, const std::vector<LabelledGroup>& groups);

/// Pairs of all groups.
std::int64_t count_pairs(const std::vector<LabelledGroup>& groups);

/// The order in which training visits its groups: position p of an endless sequence of shuffled passes. A pure function of (seed,
/// name, p).
class GroupOrder {
 public:
  /// @param copies  how often each group comes in a pass (from the weights of input files), >= 1 each
  GroupOrder(std::vector<std::int32_t> copies, std::uint64_t seed, std::string name);
  /// Index of the group at position p.
  [[nodiscard]] std::size_t at(std::int64_t position);
  /// Positions of one pass.
  [[nodiscard]] std::int64_t pass() const { return static_cast<std::int64_t>(slots_.size()); }

 private:
  std::vector<std::size_t> slots_, shuffled_;
  std::uint64_t seed_;
  std::string name_;
  std::int64_t shuffled_pass_ = -1;
};

/// Cut a list of groups into micro batches of at most `tokens_max` tokens (a larger group stands alone), in order. Does not
/// depend on ranks.
/// @return for each micro batch the indices into `groups`
std::vector<std::vector<std::size_t>> cut_micro_batches(const data::TokenStore& store,
                                                        const std::vector<const LabelledGroup*>& groups, bool share_prefix,
                                                        std::int64_t tokens_max);

}  // namespace dmoerm::train
