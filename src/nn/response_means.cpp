#include "nn/response_means.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/segment_reduce.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>

#include <numeric>
#include <vector>

#include "nn/ops.h"

namespace dmoerm::nn {

namespace cpu {

at::Tensor response_means(const at::Tensor& states_TD, std::span<const data::PackedResponse> responses) {
  std::vector<at::Tensor> means;
  for (const data::PackedResponse& response : responses) {
    const auto [shared, own] = response.response_rows();
    at::Tensor sum_D = states_TD.narrow(0, own.begin, own.length).sum(0);
    if (shared.length > 0) sum_D += states_TD.narrow(0, shared.begin, shared.length).sum(0);
    means.push_back(sum_D / (shared.length + own.length));
  }
  return at::stack(means);
}

at::Tensor response_means_backward(const at::Tensor& grad_RD, std::span<const data::PackedResponse> responses,
                                   std::int64_t rows) {
  at::Tensor grad_TD = at::zeros({rows, grad_RD.size(1)}, grad_RD.options());
  for (std::size_t r = 0; r < responses.size(); ++r) {
    const auto [shared, own] = responses[r].response_rows();
    const at::Tensor part_D = grad_RD.select(0, static_cast<std::int64_t>(r)) / (shared.length + own.length);
    grad_TD.narrow(0, own.begin, own.length).copy_(part_D);
    if (shared.length > 0) grad_TD.narrow(0, shared.begin, shared.length).add_(part_D);
  }
  return grad_TD;
}

}  // namespace cpu

void ResponseRowsUpload::add(IntegerUpload& upload, std::span<const data::PackedResponse> responses) {
  std::vector<std::int32_t> rows, numbers, offsets = {0};
  for (std::size_t r = 0; r < responses.size(); ++r) {
    const auto [shared, own] = responses[r].response_rows();
    for (const data::Span& span : {own, shared}) {  // the order of the sums on the CPU
      const std::size_t before = rows.size();
      rows.resize(before + static_cast<std::size_t>(span.length));
      std::iota(rows.begin() + static_cast<std::ptrdiff_t>(before), rows.end(), span.begin);
    }
    numbers.resize(rows.size(), static_cast<std::int32_t>(r));
    offsets.push_back(static_cast<std::int32_t>(rows.size()));
  }
  rows_ = upload.add(rows);
  responses_ = upload.add(numbers);
  offsets_ = upload.add(offsets);
}

ResponseRows ResponseRowsUpload::sent(const IntegerUpload& upload) const {
  return {upload.list(rows_), upload.list(responses_), upload.list(offsets_)};
}

at::Tensor means_of_rows(const at::Tensor& rows_MD, const at::Tensor& offsets) {
  return at::segment_reduce(rows_MD, "mean", {}, {}, offsets, 0, /*unsafe=*/true);  // true: the offsets are not read on the host
}

namespace generic {

at::Tensor response_means(const at::Tensor& states_TD, const ResponseRows& rows) {
  return means_of_rows(states_TD.index_select(0, rows.rows_M), rows.offsets);
}

at::Tensor response_means_backward(const at::Tensor& grad_RD, const ResponseRows& rows, std::int64_t count) {
  const std::int64_t responses = grad_RD.size(0);
  const at::Tensor read_R = rows.offsets.narrow(0, 1, responses) - rows.offsets.narrow(0, 0, responses);
  const at::Tensor parts_RD = grad_RD / read_R.unsqueeze(1);
  const at::Tensor grad_TD = at::zeros({count, grad_RD.size(1)}, grad_RD.options());
  add_rows(grad_TD, rows.rows_M.to(at::kLong), parts_RD.index_select(0, rows.responses_M));
  return grad_TD;
}

}  // namespace generic
}  // namespace dmoerm::nn
