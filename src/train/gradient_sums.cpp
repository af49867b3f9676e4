#include "train/gradient_sums.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <bit>

#include "base/error.h"
#include "train/gradient_norm.h"

namespace dmoerm::train {
namespace {

std::span<float> span_of(const at::Tensor& t) { return {t.data_ptr<float>(), static_cast<std::size_t>(t.numel())}; }

}  // namespace

GradientSums::GradientSums(comm::Communicator& ranks, const std::vector<std::int64_t>& widths, const Options& options)
    : ranks_(ranks),
      options_(options),
      sums_(widths.size()),
      started_(widths.size()),
      stays_(ranks.on_device() || ranks.size() == 1),
      tensor_options_(at::TensorOptions().dtype(at::kFloat).device(stays_ ? options.device : at::kCPU)) {
  DMOERM_CHECK(std::has_single_bit(static_cast<unsigned>(ranks.size())), "the number of ranks is a power of two");
  for (const std::int64_t width : widths) {
    const auto count = static_cast<std::size_t>(width);
    bounds_.push_back(options.shards ? comm::chunks_of_blocks(count, ranks.size(), static_cast<std::size_t>(kNormBlock))
                                     : comm::Bounds{0, count});
    trees_.emplace_back(AddTensor{});
  }
}

std::int64_t GradientSums::own_width(std::size_t slice) const {
  const std::size_t chunk = options_.shards ? static_cast<std::size_t>(ranks_.rank()) : 0;
  return static_cast<std::int64_t>(bounds_[slice][chunk + 1] - bounds_[slice][chunk]);
}

std::vector<std::int64_t> GradientSums::numbers(std::int64_t micro_batches) const {
  std::vector<std::int64_t> numbers;
  if (options_.shards) {
    for (std::int64_t n = ranks_.rank(); n < micro_batches; n += ranks_.size()) numbers.push_back(n);
    return numbers;
  }
  const comm::MicroBatchRange range = comm::micro_batch_range(micro_batches, ranks_.rank(), ranks_.size());
  for (std::int64_t n = range.first; n < range.last; ++n) numbers.push_back(n);
  return numbers;
}

void GradientSums::begin(std::int64_t count, std::int64_t micro_batches) {
  count_ = count;
  done_ = 0;
  std::ranges::fill(started_, 0);
  const std::vector<std::int64_t> mine = numbers(micro_batches);
  own_ = std::ranges::count_if(mine, [&](std::int64_t n) { return n < count; });
  rounds_ = (count + ranks_.size() - 1) / ranks_.size();
  contributors_ = 1;
  for (int r = 0; r < ranks_.size(); ++r) {
    const comm::MicroBatchRange range = comm::micro_batch_range(micro_batches, r, ranks_.size());
    if (range.first < range.last && range.first < count) contributors_ = r + 1;
  }
}

at::Tensor GradientSums::where_ranks_add(const at::Tensor& gradient) const { return stays_ ? gradient : gradient.cpu(); }

void GradientSums::add(std::size_t slice, const at::Tensor& gradient) {
  if (options_.shards) return reduce_gradient(slice, gradient);
  const at::Tensor local = where_ranks_add(gradient);
  trees_[slice].add(local.is_same(gradient) ? local.clone() : local);
  note_bytes();
  if (options_.overlap && done_ + 1 == own_) start_sum(slice);
}

/// Start to add one slice of the gradients of a round. @param gradient  undefined if this rank has no micro batch in the round
void GradientSums::reduce_gradient(std::size_t slice, const at::Tensor& gradient) {
  InFlight flight;
  flight.slice = slice;
  if (gradient.defined()) flight.gradient = where_ranks_add(gradient);
  flight.arriving = at::empty({own_width(slice)}, tensor_options_);
  const auto contributors = static_cast<int>(std::min<std::int64_t>(ranks_.size(), count_ - done_ * ranks_.size()));
  flight.pending = ranks_.start_reduce_scatter(gradient.defined() ? span_of(flight.gradient) : std::span<float>(), bounds_[slice],
                                               contributors, span_of(flight.arriving));
  in_flight_.push_back(std::move(flight));
  note_bytes();
}

void GradientSums::complete_oldest() {
  InFlight& flight = in_flight_.front();
  flight.pending.wait();
  if (options_.shards) trees_[flight.slice].add(std::move(flight.arriving));
  in_flight_.pop_front();
}

void GradientSums::wait_until_unused(const at::Tensor& buffer) {
  const auto uses = [&](const InFlight& f) { return f.gradient.defined() && f.gradient.data_ptr() == buffer.data_ptr(); };
  while (std::ranges::any_of(in_flight_, uses)) complete_oldest();
}

void GradientSums::start_sum(std::size_t slice) {
  sums_[slice] = trees_[slice].finish().value_or(at::Tensor());
  if (!sums_[slice].defined()) sums_[slice] = at::zeros({own_width(slice)}, tensor_options_);
  started_[slice] = 1;
  InFlight flight;
  flight.slice = slice;
  flight.pending = ranks_.start_tree_sum(span_of(sums_[slice]), contributors_);
  in_flight_.push_back(std::move(flight));
}

void GradientSums::start() {
  if (options_.shards) {
    for (; done_ < rounds_; ++done_) {
      for (std::size_t slice = 0; slice < trees_.size(); ++slice) reduce_gradient(slice, {});
    }
    return;
  }
  for (std::size_t slice = 0; slice < trees_.size(); ++slice) {
    if (started_[slice] == 0) start_sum(slice);
  }
}

void GradientSums::finish() {
  while (!in_flight_.empty()) complete_oldest();
  if (!options_.shards) return;
  for (std::size_t slice = 0; slice < trees_.size(); ++slice) sums_[slice] = trees_[slice].finish().value();
}

void GradientSums::note_bytes() {
  std::int64_t floats = 0;
  for (std::size_t slice = 0; slice < trees_.size(); ++slice) {
    floats += static_cast<std::int64_t>(trees_[slice].held()) * own_width(slice);
    if (sums_[slice].defined()) floats += sums_[slice].numel();
  }
  for (const InFlight& flight : in_flight_) floats += flight.arriving.defined() ? flight.arriving.numel() : 0;
  peak_bytes_ = std::max(peak_bytes_, floats * static_cast<std::int64_t>(sizeof(float)));
}

}  // namespace dmoerm::train
