// The groups that a model trains on or is validated on, with their strictly ordered pairs under one label.
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

/// One group with its pairs under one label. Responses that are in no pair are left out.
struct LabelledGroup {
  std::int64_t group = 0;                     ///< Index of the group in the store
  std::vector<std::int32_t> responses;        ///< Indices into the group's responses
  std::vector<preference::Preference> pairs;  ///< Pairs of indices into `responses`
};

/// The groups of a category that a task reads. Phases 1 and 2 train on `phase1`, one part of the train split, and phase 3 on
/// `phase3`, the rest: the aggregator must learn from experts' states of prompts that the experts have not seen. With folds both
/// are the whole train split, see Part.
enum class Subset { phase1, phase3, train, validation, test };

/// A subset, or what a fold has of it: of `phase1` the groups outside of the fold, which its models are trained on, and of
/// `phase3` those in it, which they rate for the aggregator.
struct Part {
  Part(Subset of, std::int32_t in_fold = 0) : subset(of), fold(in_fold) {}  // a subset is the usual form

  Subset subset;
  std::int32_t fold;  ///< Number of the fold, counted from 1; 0 = the whole subset
};

/// The fold of each group of the store, counted from 1; 0 for groups of other splits or categories. The groups of a conversation
/// are in one fold. Each fold has equally many conversations, and equally many of those with an overall preference, give or take
/// one; if there are fewer than folds, the last folds are empty.
std::vector<std::int32_t> fold_numbers(const data::TokenStore& store, std::int32_t category, const config::RunConfig& config);

/// The groups of a part, in the store's order. @param category  index of a category; -1 = all. A fold of all categories has the
/// conversations that are in this fold of any of them
std::vector<std::int64_t> groups_of(const data::TokenStore& store, std::int32_t category, Part part,
                                    const config::RunConfig& config);

/// The groups of a part that have at least one pair under `label` ("overall" or a capability point), or a tie that is kept.
std::vector<LabelledGroup> labelled_groups(const data::TokenStore& store, std::int32_t category, Part part,
                                           std::string_view label, const config::RunConfig& config,
                                           preference::Ties ties = preference::Ties::left_out);

/// The ties that a training has.
inline preference::Ties ties_of(const config::TrainConfig& train) {
  if (train.ties == config::Ties::none) return preference::Ties::left_out;
  return train.ties == config::Ties::judged ? preference::Ties::judged : preference::Ties::all;
}

/// The groups of a part with all their responses and no pairs, as they may be labelled.
std::vector<LabelledGroup> whole_groups(const data::TokenStore& store, std::int32_t category, Part part,
                                        const config::RunConfig& config);

/// The groups of a part that have at least one pair by the judges' verdicts, or a tie if ties are kept. Each of these is judged.
/// @param soft  true: a pair's target is its share of the votes, also for ties and inconsistent pairs unless the share is a half;
/// false: only believed verdicts make pairs
std::vector<LabelledGroup> judged_groups(const data::TokenStore& store, std::int32_t category, Part part,
                                         const std::vector<label::JudgedGroup>& verdicts, bool soft,
                                         const config::RunConfig& config, preference::Ties ties = preference::Ties::left_out);

/// At most `count` of some groups, drawn by a seed and the name of a random stream, in their order; all of them if `count` is 0.
std::vector<LabelledGroup> drawn_groups(std::vector<LabelledGroup> groups, std::int64_t count, std::uint64_t seed,
                                        const std::string& stream);

/// A number for the prompt of each group: groups with the same prompt have the same number, and so have groups of one session.
std::vector<std::int64_t> prompt_numbers(const data::TokenStore& store, const std::vector<LabelledGroup>& groups);

/// How often an epoch visits each group: the rounded weight of its input file.
std::vector<std::int32_t> copies_of(const data::TokenStore& store, const std::vector<LabelledGroup>& groups);

/// Number of visits in an epoch: copies_of() of each group, but at least one.
std::int64_t epoch_groups(const data::TokenStore& store, const std::vector<LabelledGroup>& groups);

/// Number of pairs in all groups, without the ties.
std::int64_t count_pairs(const std::vector<LabelledGroup>& groups);

/// The order in which training visits its groups: an endless sequence of shuffled epochs, whose entry p is a pure function of
/// (seed, name, p).
class GroupOrder {
 public:
  /// @param copies  how often an epoch visits each group (from the weights of input files); less than 1 counts as 1
  GroupOrder(std::vector<std::int32_t> copies, std::uint64_t seed, std::string name);
  /// Index of the group at position p.
  [[nodiscard]] std::size_t at(std::int64_t position);
  /// Number of positions in one epoch.
  [[nodiscard]] std::int64_t epoch_length() const { return static_cast<std::int64_t>(slots_.size()); }

 private:
  std::vector<std::size_t> slots_, shuffled_;
  std::uint64_t seed_;
  std::string name_;
  std::int64_t shuffled_epoch_ = -1;
};

/// Consecutive responses of a labelled group that go through one pass: all of them, unless the group is too large for that.
struct Portion {
  const LabelledGroup* of = nullptr;
  std::size_t first = 0, count = 0;  ///< Places in of->responses

  [[nodiscard]] std::span<const std::int32_t> responses() const { return std::span(of->responses).subspan(first, count); }
  [[nodiscard]] bool whole() const { return count == of->responses.size(); }
};

/// The portions of one pass.
using MicroBatch = std::vector<Portion>;

/// Cut a list of groups into micro batches of at most `tokens_max` tokens, in order. A group with more tokens is cut into
/// portions, which are micro batches of their own; each has the group's prompt. Only a single response with its prompt may have
/// more tokens than that. The result does not depend on the number of ranks.
std::vector<MicroBatch> cut_micro_batches(const data::TokenStore& store, const std::vector<const LabelledGroup*>& groups,
                                          data::PackingRule rule, std::int64_t tokens_max);

/// The same for a step of training, whose micro batches ranks share out in a complete binary tree (comm::micro_batch_range):
/// their number is raised to a power of two if there are groups for it, and they are about equally long, so that no rank has much
/// more work than others.
std::vector<MicroBatch> cut_step(const data::TokenStore& store, const std::vector<const LabelledGroup*>& groups,
                                 data::PackingRule rule, std::int64_t tokens_max);

/// Tokens of a micro batch in a packed batch.
std::int64_t tokens_of(const data::TokenStore& store, const MicroBatch& batch, data::PackingRule rule);

}  // namespace dmoerm::train
