// What heads read that read a response's mean state (HeadReads::mean): the mean over the rows of its tokens, and its gradient. It
// goes one of two ways: response by response on the CPU, and with lists of rows elsewhere, where every operation has its price.
// The tests compare them. Shapes: T rows of the batch, R responses, D width, M rows that are read, one response after the other.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "data/packed_batch.h"
#include "nn/transfer.h"

namespace dmoerm::nn {

namespace cpu {
/// [R, D]. Each is summed on its own, so that it has the same bits in every batch.
at::Tensor response_means(const at::Tensor& states_TD, std::span<const data::PackedResponse> responses);
/// Gradient of response_means() in the states, [T, D]. @param rows  T
at::Tensor response_means_backward(const at::Tensor& grad_RD, std::span<const data::PackedResponse> responses, std::int64_t rows);
}  // namespace cpu

/// The rows that each response reads, int32, on one device.
struct ResponseRows {
  at::Tensor rows_M, responses_M;  ///< A row, and the number of the response that reads it
  at::Tensor offsets;              ///< Where in rows_M the rows of each response begin, and the end of the last, [R + 1]
};

/// These lists on their way to a device.
class ResponseRowsUpload {
 public:
  void add(IntegerUpload& upload, std::span<const data::PackedResponse> responses);
  /// After upload.send().
  [[nodiscard]] ResponseRows sent(const IntegerUpload& upload) const;

 private:
  std::size_t rows_ = 0, responses_ = 0, offsets_ = 0;  ///< Numbers of the lists
};

/// Means of rows that follow each other, [N, D], each summed in the order of its rows.
/// @param offsets  where each begins, and the end of the last, [N + 1], int32, on the rows' device
at::Tensor means_of_rows(const at::Tensor& rows_MD, const at::Tensor& offsets);

namespace generic {
/// As in cpu, in a number of operations that does not depend on that of the responses.
at::Tensor response_means(const at::Tensor& states_TD, const ResponseRows& rows);
at::Tensor response_means_backward(const at::Tensor& grad_RD, const ResponseRows& rows, std::int64_t count);
}  // namespace generic

}  // namespace dmoerm::nn
