// Products of float32 rows with frozen weights of eight bits. A weight is a whole number from -127 to 127 times its output's
// scale; an input becomes one times the scale of 96 inputs of its row when it comes. Whole numbers are multiplied and summed
// within these blocks, and the blocks' sums are added in one order, so that a row of a product has the same bits whatever rows
// are beside it, on any number of threads and any processor.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string_view>

namespace dmoerm::nn {

/// Rows in eight bits. The largest number of a block of 96 inputs, without sign, is 127 steps of its scale.
struct Int8Rows {
  /// @param x  [rows, inputs], float32, on the CPU, with adjacent columns. A block with NaN or infinity has the scale NaN.
  explicit Int8Rows(const at::Tensor& x);

  std::int64_t rows, inputs;
  std::int64_t stride;  ///< Bytes from row to row: `inputs` up to a multiple of four
  std::int64_t blocks;  ///< The last one may be shorter
  at::Tensor bytes;     ///< [rows, stride], uint8: 128 more than the whole number
  at::Tensor scales;    ///< [rows, blocks], float32
};

/// Weights in eight bits as loops read them.
struct Int8Panels {
  const std::int8_t* bytes;   ///< [panels, quads, kPanel, kQuad], with zeros beyond outputs and inputs
  const float* scales;        ///< [panels * kPanel]
  const std::int32_t* start;  ///< [panels, blocks, kPanel]: what takes the 128 of the rows' bytes out of a block's sum
  std::int64_t quads, blocks, outputs;
};

/// Weights in eight bits, laid out in panels for products.
class Int8Matrix {
 public:
  /// @param w  [outputs, inputs], float32, on the CPU
  explicit Int8Matrix(const at::Tensor& w);

  /// out = x w' (+ bias) (+ residual).
  /// @param bias      [outputs], float32, or undefined
  /// @param residual  [rows, outputs] with adjacent columns, or undefined
  /// @param out       [rows, outputs], float32, with adjacent columns
  void multiply(const Int8Rows& x, const at::Tensor& bias, const at::Tensor& residual, const at::Tensor& out) const;
  /// x w' (+ bias) (+ residual) as a new tensor.
  [[nodiscard]] at::Tensor product(const Int8Rows& x, const at::Tensor& bias, const at::Tensor& residual = {}) const;
  /// Valid as long as the matrix lives.
  [[nodiscard]] Int8Panels panels() const;

 private:
  std::int64_t outputs_, inputs_;
  at::Tensor panels_, scales_, start_;  ///< int8, float32, int32, as Int8Panels has them
};

/// What to tell people who ask for int8 where it saves no time: on processors without AVX-512 VNNI a product in int8 takes as
/// long as in float32, or longer. Empty where it does save time.
std::string_view int8_saves_no_time();

/// A linear layer: x w' + b; b may be undefined.
struct Int8Linear {
  const Int8Matrix& w;
  const at::Tensor& b;
};

/// Whether gated_mlp() takes so many rows and is worth its while: panels that do not cross the middle, and rows for all threads.
bool takes_gated_mlp(std::int64_t rows, const Int8Matrix& gate_up);
/// down(silu(gate(x)) * up(x)) + residual, of few rows at a time, whose activations never leave a core's cache. The bits are
/// those of the three steps one after the other.
/// @param gate_up  outputs of the gate, and then as many of up
at::Tensor gated_mlp(const Int8Rows& x, const Int8Linear& gate_up, const Int8Linear& down, const at::Tensor& residual);

}  // namespace dmoerm::nn
