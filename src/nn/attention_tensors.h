// What goes into attention and comes out of it.
#pragma once
#include <ATen/core/Tensor.h>

namespace dmoerm::nn {

/// Queries, keys and values, or their gradients. A row is a token; queries may be of some tokens only. Rows may be strided.
struct Qkv {
  at::Tensor q;           ///< [query rows, heads * head_dim]
  at::Tensor k_TC, v_TC;  ///< [T, kv_heads * head_dim]
};

/// Rotary tables of some rows, [rows, head_dim / 2], float32; undefined where nothing is rotated.
struct Turns {
  at::Tensor cos, sin;
};

/// The result of attention.
struct Attended {
  at::Tensor out;     ///< [query rows, heads * head_dim]
  at::Tensor lse_HT;  ///< Log-sum-exp of each query's scores, [heads, query rows], float32
};

}  // namespace dmoerm::nn
