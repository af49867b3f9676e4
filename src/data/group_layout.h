// How a group's texts become a shared prefix and the rest of each response, and how over-long ones are cut. `ingest` and `score`
// use the same rule.
#pragma once
#include <cstdint>
#include <vector>

namespace dmoerm::data {

struct LayoutLimits {
  std::int64_t max_length = 1024;       ///< tokens of prompt + response
  std::int64_t min_prompt_tokens = 32;  ///< kept of a cut prompt
  std::int64_t head_tokens = 0;         ///< at the start of every text, never cut (a BOS)
};

struct GroupLayout {
  std::vector<std::int32_t> prefix;  ///< longest common prefix; every response keeps at least one token
  std::vector<std::vector<std::int32_t>> responses;
  std::int64_t prompt_cut = 0;     ///< tokens taken from the start of the prompt, the same for all responses
  std::int64_t responses_cut = 0;  ///< responses that lost tokens before their last one
};

/// If any text is too long, the same number of tokens is cut from the start of the prompt (after the head) of all. A prompt keeps
/// min_prompt_tokens; a text that is still too long then loses the end of its response, but keeps its last token, which marks the
/// end.
/// @param texts  ids of prompt + response in full, none empty
/// @param prompt_tokens  length of the prompt's own ids
GroupLayout lay_out_group(std::vector<std::vector<std::int32_t>> texts, std::int64_t prompt_tokens, const LayoutLimits& limits);

/// The prompt's own ids with the same cut as the texts of its group, and never longer than max_length.
std::vector<std::int32_t> cut_prompt(std::vector<std::int32_t> prompt, const GroupLayout& layout, const LayoutLimits& limits);

}  // namespace dmoerm::data
