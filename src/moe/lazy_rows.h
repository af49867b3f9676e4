// A tensor whose rows are read when they are asked for, as states of many responses do not fit into memory.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "nn/safetensors.h"

namespace dmoerm::moe {

/// Most rows that are in memory together where all rows of a tensor are gone through.
constexpr std::int64_t kRowsTogether = 4096;

/// Rows of a tensor [N, ...] in memory, in a file, or from another source.
class LazyRows {
 public:
  /// Gives rows, in the order of their indices (int64, [R]): a tensor [R, ...].
  using Read = std::function<at::Tensor(const at::Tensor& rows)>;

  /// No tensor at all, as an undefined one.
  LazyRows() = default;
  /// A tensor in memory.
  LazyRows(const at::Tensor& held);  // NOLINT(google-explicit-constructor): what is in memory is the usual form
  LazyRows(std::vector<std::int64_t> shape, Read read) : shape_(std::move(shape)), read_(std::move(read)) {}
  /// A tensor of a file, of which each read takes only the rows that it asks for. @throws DataError if it is not there
  static LazyRows of_file(const nn::SafetensorsReader& file, const std::string& name);
  /// The rows of several tensors, one after the other. They have the same shape but for the number of rows.
  static LazyRows joined(std::vector<LazyRows> pieces);

  [[nodiscard]] bool defined() const { return !shape_.empty(); }
  [[nodiscard]] std::int64_t size(std::size_t dimension) const { return shape_.at(dimension); }
  /// Numbers in a row.
  [[nodiscard]] std::int64_t width() const;
  /// Rows [first, first + count), which are read only if they are asked for. Undefined if this is.
  [[nodiscard]] LazyRows part(std::int64_t first, std::int64_t count) const;
  /// Some rows, [R, ...]. @param rows  indices, int64, [R]
  [[nodiscard]] at::Tensor read(const at::Tensor& rows) const { return read_(rows); }
  /// One row, [...].
  [[nodiscard]] at::Tensor row(std::int64_t index) const;
  /// Some rows in this order, at most kRowsTogether of them at a time. Without a tensor there are none.
  /// @param take  receives some of the rows, [R, ...], and how many came before
  void in_parts(const at::Tensor& rows, const std::function<void(const at::Tensor& part, std::int64_t first)>& take) const;
  /// All rows, as many at a time.
  void in_parts(const std::function<void(const at::Tensor& part, std::int64_t first)>& take) const;
  /// What a function makes of the rows. @param of  keeps the shape, and makes of each row the same whatever stands beside it
  [[nodiscard]] LazyRows mapped(std::function<at::Tensor(const at::Tensor& part)> of) const;

 private:
  std::vector<std::int64_t> shape_;
  Read read_;
};

}  // namespace dmoerm::moe
