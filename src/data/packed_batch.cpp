#include "data/packed_batch.h"

namespace dmoerm::data {
namespace {

Span append_tokens(PackedBatch& batch, std::span<const std::int32_t> ids, std::int32_t first_position) {
  const Span span{static_cast<std::int32_t>(batch.ids.size()), static_cast<std::int32_t>(ids.size())};
  batch.ids.insert(batch.ids.end(), ids.begin(), ids.end());
  for (std::int32_t i = 0; i < span.length; ++i) batch.positions.push_back(first_position + i);
  return span;
}

void append_response(PackedBatch& batch, PackedResponse response, PackingRule rule) {
  batch.responses.push_back(response);
  const bool last = rule == PackingRule::causal;
  batch.read_rows.push_back(response.own.begin + (last ? response.own.length - 1 : 0));
}

}  // namespace

void append_group(PackedBatch& batch, const TokenGroup& group, std::span<const std::int32_t> responses, PackingRule rule) {
  const bool shared = rule == PackingRule::causal;
  Span prefix;
  if (shared && !group.prefix.empty()) {
    prefix = append_tokens(batch, group.prefix, 0);
    batch.prefixes.push_back(prefix);
  }
  for (std::int32_t index : responses) {
    const auto& own = group.responses[static_cast<std::size_t>(index)];
    if (shared) {
      const Span tokens = append_tokens(batch, own, prefix.length);
      append_response(batch, {prefix, tokens, tokens}, rule);
    } else {
      Span whole = append_tokens(batch, group.prefix, 0);
      const Span tokens = append_tokens(batch, own, whole.length);
      whole.length += tokens.length;
      append_response(batch, {{}, whole, tokens}, rule);
    }
  }
  batch.group_ends.push_back(static_cast<std::int32_t>(batch.responses.size()));
}

void append_sequence(PackedBatch& batch, std::span<const std::int32_t> ids, PackingRule rule) {
  const Span tokens = append_tokens(batch, ids, 0);
  append_response(batch, {{}, tokens, tokens}, rule);
  batch.group_ends.push_back(static_cast<std::int32_t>(batch.responses.size()));
}

std::int64_t packed_tokens(const TokenGroup& group, std::span<const std::int32_t> responses, PackingRule rule) {
  const auto prefix = static_cast<std::int64_t>(group.prefix.size());
  std::int64_t tokens = rule == PackingRule::causal ? prefix : prefix * static_cast<std::int64_t>(responses.size());
  for (std::int32_t index : responses)
    tokens += static_cast<std::int64_t>(group.responses[static_cast<std::size_t>(index)].size());
  return tokens;
}

}  // namespace dmoerm::data
