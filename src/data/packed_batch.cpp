#include "data/packed_batch.h"

#include <algorithm>

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

std::array<Span, 2> PackedResponse::response_rows() const {
  const std::int32_t begin = std::min(prompt, prefix.length + own.length - 1);  // a text that is all prompt is read at its end
  const std::int32_t in_prefix = std::min(begin, prefix.length), in_own = begin - in_prefix;
  return {Span{prefix.begin + in_prefix, prefix.length - in_prefix}, Span{own.begin + in_own, own.length - in_own}};
}

void append_group(PackedBatch& batch, const TokenGroup& group, std::span<const std::int32_t> responses, PackingRule rule) {
  const bool shared = rule == PackingRule::causal;
  const auto prompt = static_cast<std::int32_t>(group.prompt_tokens);
  Span prefix;
  if (shared && !group.prefix.empty()) {
    prefix = append_tokens(batch, group.prefix, 0);
    batch.prefixes.push_back(prefix);
  }
  for (std::int32_t index : responses) {
    const auto& own = group.responses[static_cast<std::size_t>(index)];
    if (shared) {
      append_response(batch, {prefix, append_tokens(batch, own, prefix.length), prompt}, rule);
    } else {
      Span whole = append_tokens(batch, group.prefix, 0);
      whole.length += append_tokens(batch, own, whole.length).length;
      append_response(batch, {{}, whole, prompt}, rule);
    }
  }
  batch.group_ends.push_back(static_cast<std::int32_t>(batch.responses.size()));
}

void append_sequence(PackedBatch& batch, std::span<const std::int32_t> ids, PackingRule rule) {
  append_response(batch, {{}, append_tokens(batch, ids, 0)}, rule);
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
