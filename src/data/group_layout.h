// How the texts of a group become a shared prefix and the rest of each response, and how long texts are cut. `ingest` and `score`
// use the same rule.
#pragma once
#include <cstdint>
#include <vector>

namespace dmoerm::data {

struct LayoutLimits {
  std::int64_t max_length = 1024;       ///< most tokens of prompt and response together
  std::int64_t min_prompt_tokens = 32;  ///< tokens that a cut prompt keeps
  std::int64_t head_tokens = 0;         ///< tokens at the start of every text that are never cut (a BOS)
};

struct GroupLayout {
  std::vector<std::int32_t> prefix;  ///< longest common prefix that leaves every response at least one token
  std::vector<std::vector<std::int32_t>> responses;
  std::int64_t prompt_cut = 0;     ///< tokens removed from the start of the prompt, the same ones for all responses
  std::int64_t responses_cut = 0;  ///< responses that lost tokens before their last one
};

/// Lay out a group. If any text is too long, all texts lose the same number of tokens from the start of the prompt, after the
/// head. The prompt keeps min_prompt_tokens. A text that is still too long loses the end of its response, except the last token,
/// which marks the end.
/// @param texts          ids of the prompt and one response each, none empty
/// @param prompt_tokens  number of ids of the prompt alone
GroupLayout lay_out_group(std::vector<std::vector<std::int32_t>> texts, std::int64_t prompt_tokens, const LayoutLimits& limits);

/// The ids of the prompt alone, cut like the texts of its group and never longer than max_length.
std::vector<std::int32_t> cut_prompt(std::vector<std::int32_t> prompt, const GroupLayout& layout, const LayoutLimits& limits);

}  // namespace dmoerm::data
