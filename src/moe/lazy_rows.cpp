#include "moe/lazy_rows.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/index_select.h>

#include <algorithm>
#include <numeric>

#include "base/activity.h"
#include "base/error.h"

namespace dmoerm::moe {
namespace {

/// Rows of joined tensors. @param first  the number of each tensor's first row
at::Tensor read_joined(const std::vector<LazyRows>& pieces, const std::vector<std::int64_t>& first, const at::Tensor& rows) {
  const at::Tensor local = rows.contiguous();
  const std::int64_t* row = local.const_data_ptr<std::int64_t>();
  const auto piece_of = [&](std::int64_t i) { return std::ranges::upper_bound(first, row[i]) - first.begin() - 1; };
  std::vector<at::Tensor> parts;
  for (std::int64_t i = 0, run = 0; i < local.numel(); i += run) {
    const auto piece = piece_of(i);
    for (run = 1; i + run < local.numel() && piece_of(i + run) == piece;) ++run;
    const auto p = static_cast<std::size_t>(piece);
    parts.push_back(pieces[p].read(local.narrow(0, i, run) - first[p]));
  }
  return parts.empty() ? pieces.front().read(local) : at::cat(parts);
}

}  // namespace

LazyRows::LazyRows(const at::Tensor& held) {
  if (!held.defined()) return;
  shape_ = held.sizes().vec();
  read_ = [held](const at::Tensor& rows) { return held.index_select(0, rows); };
}

LazyRows LazyRows::of_file(const nn::SafetensorsReader& file, const std::string& name) {
  return {file.shape(name), [file, name](const at::Tensor& rows) { return file.rows(name, rows); }};
}

LazyRows LazyRows::joined(std::vector<LazyRows> pieces) {
  DMOERM_CHECK(!pieces.empty(), "there is a tensor to join");
  std::vector<std::int64_t> shape = pieces.front().shape_, first;
  shape[0] = 0;
  for (const LazyRows& piece : pieces) {
    first.push_back(shape[0]);
    shape[0] += piece.size(0);
  }
  return {std::move(shape), [pieces = std::move(pieces), first = std::move(first)](const at::Tensor& rows) {
            return read_joined(pieces, first, rows);
          }};
}

LazyRows LazyRows::part(std::int64_t first, std::int64_t count) const {
  if (!defined()) return {};
  std::vector<std::int64_t> shape = shape_;
  shape[0] = count;
  return {std::move(shape), [read = read_, first](const at::Tensor& rows) { return read(rows + first); }};
}

at::Tensor LazyRows::row(std::int64_t index) const { return read(at::full({1}, index, at::kLong))[0]; }

void LazyRows::in_parts(const at::Tensor& rows,
                        const std::function<void(const at::Tensor& part, std::int64_t first)>& take) const {
  for (std::int64_t first = 0; defined() && first < rows.numel(); first += kRowsTogether) {
    take(read(rows.narrow(0, first, std::min(kRowsTogether, rows.numel() - first))), first);
    note_activity();
  }
}

void LazyRows::in_parts(const std::function<void(const at::Tensor& part, std::int64_t first)>& take) const {
  if (defined()) in_parts(at::arange(size(0), at::kLong), take);
}

LazyRows LazyRows::mapped(std::function<at::Tensor(const at::Tensor& part)> of) const {
  if (!defined()) return {};
  return {shape_, [read = read_, of = std::move(of)](const at::Tensor& rows) { return of(read(rows)); }};
}

std::int64_t LazyRows::width() const {
  return std::accumulate(shape_.begin() + 1, shape_.end(), std::int64_t{1}, std::multiplies<>());
}

}  // namespace dmoerm::moe
