// The packed batch: groups laid out as one row of tokens, without padding, each prompt once. Plain vectors; the model makes
// tensors of them.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "data/token_store.h"

namespace dmoerm::data {

/// Rows [begin, begin + length) of a packed batch.
struct Span {
  std::int32_t begin = 0, length = 0;
};

/// One response of a packed batch: its own tokens, and the shared tokens it follows (may be empty).
struct PackedResponse {
  Span prefix, own;
};

/// T tokens of some groups: all prefixes' and responses' tokens in one row.
struct PackedBatch {
  std::vector<std::int32_t> ids;        ///< [T]
  std::vector<std::int32_t> positions;  ///< [T] place of each token in its own sequence
  std::vector<Span> prefixes;           ///< shared prompts, each with its own causal attention
  std::vector<PackedResponse> responses;
  std::vector<std::int32_t>
      read_rows;  ///< [responses] row whose state is the response's: the last token, or the first for encoders
  std::vector<std::int32_t> group_ends;  ///< [groups] number of responses up to and including each group

  [[nodiscard]] std::int64_t tokens() const { return static_cast<std::int64_t>(ids.size()); }
  [[nodiscard]] std::int64_t groups() const { return static_cast<std::int64_t>(group_ends.size()); }
};

/// Add one group. With `share_prefix` its prefix is laid out once (decoders); without, each response carries the whole text
/// (encoders cannot share: there every token sees every other).
/// @param responses  subset of the group's responses, by index, in this order
void append_group(PackedBatch& batch, const TokenGroup& group, std::span<const std::int32_t> responses, bool share_prefix,
                  bool read_last);

/// Add one sequence as a group of one response.
void append_sequence(PackedBatch& batch, std::span<const std::int32_t> ids, bool read_last);

/// Tokens that append_group() would add.
std::int64_t packed_tokens(const TokenGroup& group, std::span<const std::int32_t> responses, bool share_prefix);

}  // namespace dmoerm::data
