// The packed batch: the tokens of several groups in one row, without padding, with each prompt once. It consists of plain
// vectors, from which the model makes tensors.
#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "data/token_store.h"

namespace dmoerm::data {

/// How texts are laid out, which follows from what a model's tokens see.
enum class PackingRule {
  causal,         ///< Decoders: a group's prefix stands once for all responses, and each response is read at its last token
  bidirectional,  ///< Encoders: every token sees all others, so each response has the whole text; it is read at its first token
};

/// Tokens [begin, begin + length) of a packed batch.
struct Span {
  std::int32_t begin = 0, length = 0;
};

/// One response of a packed batch: its own tokens, and the shared tokens before them (may be empty).
struct PackedResponse {
  Span prefix, own;
  std::int32_t prompt = 0;  ///< tokens of the text, counted from the prefix on, before the response begins

  /// Where the response's tokens without its prompt's are: in the prefix, which may hold first tokens that all responses share,
  /// and in `own`.
  [[nodiscard]] std::array<Span, 2> response_rows() const;
};

/// The T tokens of some groups, prefixes and responses, in one row.
struct PackedBatch {
  std::vector<std::int32_t> ids;        ///< [T]
  std::vector<std::int32_t> positions;  ///< [T] position of each token in its own sequence
  std::vector<Span> prefixes;           ///< shared prefixes, each with its own causal attention
  std::vector<PackedResponse> responses;
  std::vector<std::int32_t> read_rows;   ///< [responses] token whose state is read as the response's
  std::vector<std::int32_t> group_ends;  ///< [groups] number of responses up to the end of each group

  [[nodiscard]] std::int64_t tokens() const { return static_cast<std::int64_t>(ids.size()); }
  [[nodiscard]] std::int64_t groups() const { return static_cast<std::int64_t>(group_ends.size()); }
};

/// Add one group.
/// @param responses  indices of the group's responses to add, in this order
void append_group(PackedBatch& batch, const TokenGroup& group, std::span<const std::int32_t> responses, PackingRule rule);

/// Add one sequence as a group of one response.
void append_sequence(PackedBatch& batch, std::span<const std::int32_t> ids, PackingRule rule);

/// Number of tokens that append_group() would add.
std::int64_t packed_tokens(const TokenGroup& group, std::span<const std::int32_t> responses, PackingRule rule);

}  // namespace dmoerm::data
