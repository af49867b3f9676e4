// Which queries of a packed batch see which keys.
#pragma once
#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <vector>

#include "data/packed_batch.h"

namespace dmoerm::nn {

/// Queries that see the same keys: all of `prefix`, then `own`. In decoders the queries are the last `q_count` places of `own`,
/// and each sees own keys up to its place; in encoders they are any rows of `own`, and each sees all keys.
struct AttentionItem {
  std::int64_t q_begin = 0, q_count = 0;  ///< Rows of the query matrix
  data::Span prefix, own;                 ///< Rows of the key and value matrices
};

/// Items that share keys through one prefix; clusters share nothing, so they run in parallel.
using AttentionCluster = std::vector<AttentionItem>;

/// Numbers of heads in the query and key matrices; each head has head_dim columns.
struct HeadShape {
  std::int64_t heads = 1, kv_heads = 1, head_dim = 1;
};

/// The sequences of one call of a variable-length kernel, see attention_flash.h, on the device; undefined if there is no such
/// call.
struct Sequences {
  at::Tensor q, k;  ///< int32, [sequences + 1]
  std::int64_t q_longest = 0, k_longest = 0;
};

struct AttentionPlan {
  std::vector<AttentionCluster> clusters;
  HeadShape shape;
  bool causal = true;                    ///< Whether a query sees only keys up to its own place
  std::array<Sequences, 2> sequences{};  ///< Rows that see their own sequence, and rows that see a prefix; undefined on the CPU
};

/// Every row is a query.
AttentionPlan plan_all_rows(const data::PackedBatch& batch, data::PackingRule rule, const HeadShape& shape);
/// Only each response's read row is a query: query row i belongs to response i.
AttentionPlan plan_read_rows(const data::PackedBatch& batch, data::PackingRule rule, const HeadShape& shape);

}  // namespace dmoerm::nn
