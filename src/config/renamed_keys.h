// Keys of earlier versions and what they are called now. A file that still uses one is refused with the new name.
#pragma once
#include <array>
#include <string>
#include <string_view>

namespace dmoerm::config {

/// An old key and the new one, dotted, list elements without their number. Both lie in the same section.
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
    {"labels.judges.via", "labels.judges.api"},
    {"cluster.limit_s", "cluster.timeout_s"},
    {"cluster.wire", "cluster.gradient_dtype"},
    {"data.inputs.form", "data.inputs.format"},
});

/// The row of an old key; nullptr if the key was never one. @param key  dotted, list elements with or without their number
const RenamedKey* find_renamed(const std::string& key);

/// What to say about an old key: `this key is now base.tuning, and its value "all" is now "full"`.
/// @param key    as it was written, list elements with their number
/// @param value  its single value; empty if it has none
std::string describe_renamed(const RenamedKey& renamed, const std::string& key, const std::string& value);

}  // namespace dmoerm::config
