// Keys of earlier versions and what they are called now. A file that still uses one is read as if it used the new name, with a
// warning.
#pragma once
#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "config/problems.h"
#include "config/tree.h"

namespace dmoerm::config {

/// An old key and the new one, dotted, list elements without their number. Both lie in the same section, and their values mean
/// the same.
struct RenamedKey {
  std::string_view old_key;
  std::string_view new_key;
  std::string_view old_value = "";  ///< a value that is written differently too; empty: none
  std::string_view new_value = "";
};

inline constexpr auto kRenamedKeys = std::to_array<RenamedKey>({
    {"base_share", "phase1_share"},
    {"base.trains", "base.tuning", "all", "full"},
    {"base.clip_norm", "base.max_grad_norm"},
    {"base.recompute", "base.gradient_checkpointing"},
    {"base.reward_centring", "base.center_rewards_coefficient"},
    {"experts.train.trains", "experts.train.tuning", "all", "full"},
    {"experts.train.clip_norm", "experts.train.max_grad_norm"},
    {"experts.train.recompute", "experts.train.gradient_checkpointing"},
    {"experts.train.reward_centring", "experts.train.center_rewards_coefficient"},
    {"experts.fuse", "experts.per_task"},
    {"aggregator.clip_norm", "aggregator.max_grad_norm"},
    {"categories.clear_margin", "categories.score_gap_min"},
    {"labels.batch_discount", "labels.batch_price_share"},
    {"labels.judges.via", "labels.judges.api"},
    {"cluster.limit_s", "cluster.timeout_s"},
    {"cluster.wire", "cluster.gradient_dtype"},
    {"data.inputs.form", "data.inputs.format"},
});

/// A value of earlier versions that a key no longer knows, and the one that is read in its place, with a warning.
struct RetiredValue {
  std::string_view key;
  std::string_view old_value, new_value;
};

inline constexpr auto kRetiredValues = std::to_array<RetiredValue>({{"aggregator.kind", "linear", "stack"},
                                                                    {"base.ties", "true", "all"},
                                                                    {"base.ties", "false", "none"},
                                                                    {"experts.train.ties", "true", "all"},
                                                                    {"experts.train.ties", "false", "none"}});

/// A dotted key without the numbers of list elements: "labels.judges.api" for "labels.judges.0.api".
std::string without_numbers(const std::string& key);

/// Give every old key in `root` its new name, and every retired value its successor. One that stands beside its new name goes to
/// `problems`.
/// @param warnings  gets a sentence with the place for each renamed key
void rename_old_keys(Tree& root, Problems& problems, std::vector<std::string>& warnings);

/// The same for the single key that an override names: `key` and `value` become those of today.
/// @param key  dotted, list elements with their number
void rename_old_key(std::string& key, Tree& value, const Problems& problems, std::vector<std::string>& warnings);

}  // namespace dmoerm::config
