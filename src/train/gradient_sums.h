// Sums one trainee's gradients over the micro batches of a step and over the ranks, slice by slice, in a tree that gives the same
// bits for any number of ranks.
//
// Whole sums: a rank computes the micro batches of one subtree (comm::micro_batch_range) and sums their gradients; once a step
// the ranks add their sums, and every rank gets the result. Shards: rank r computes micro batch t * R + r in round t; the R
// gradients of a round, which form an aligned subtree, are added at once, and each rank keeps only its chunk of the sum, so that
// no rank ever holds a sum of the whole model.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <deque>
#include <vector>

#include "comm/communicator.h"
#include "comm/tree_sum.h"

namespace dmoerm::train {

class GradientSums {
 public:
  struct Options {
    bool shards = false;   ///< Whether a rank receives only the sums of its own chunks
    bool overlap = false;  ///< Whether to send a slice right after its last gradient; only for a trainee that trains alone
    at::Device device = at::kCPU;  ///< Device of the gradients
  };
  /// @param widths  number of floats in each slice, in the order in which a backward pass completes the slices
  GradientSums(comm::Communicator& ranks, const std::vector<std::int64_t>& widths, const Options& options);

  /// Numbers of the micro batches that this rank computes in a step of `micro_batches`.
  [[nodiscard]] std::vector<std::int64_t> numbers(std::int64_t micro_batches) const;
  /// Begin a step of `micro_batches`, which the ranks share out; this trainee takes part in the first `count` of them.
  void begin(std::int64_t count, std::int64_t micro_batches);
  /// Add the flat gradient of a slice in this rank's next micro batch. It may be overwritten after wait_until_unused().
  void add(std::size_t slice, const at::Tensor& gradient);
  /// Wait until no sum needs the buffer's content any more.
  void wait_until_unused(const at::Tensor& buffer);
  /// End a micro batch, after all its slices were added.
  void end_micro_batch() { ++done_; }
  /// Start the remaining sums, after this rank's last micro batch.
  void start();
  /// Wait for the sums, after start().
  void finish();
  /// The sum of a slice, or of this rank's chunk of it, after finish(). Moves it out, so that the caller frees its memory.
  at::Tensor take(std::size_t slice) { return std::move(sums_[slice]); }

  [[nodiscard]] const comm::Bounds& bounds(std::size_t slice) const { return bounds_[slice]; }
  /// Most bytes that sums and receive buffers took so far, without the callers' gradients.
  [[nodiscard]] std::int64_t peak_bytes() const { return peak_bytes_; }

 private:
  struct AddTensor {
    void operator()(at::Tensor& sum, const at::Tensor& more) const { sum.add_(more); }
  };
  struct InFlight {
    std::size_t slice = 0;
    at::Tensor gradient, arriving;
    comm::Pending pending;  // the last member, because its destructor must wait before the tensors are freed
  };
  void reduce_gradient(std::size_t slice, const at::Tensor& gradient);
  void start_sum(std::size_t slice);
  void complete_oldest();
  void note_bytes();
  [[nodiscard]] std::int64_t own_width(std::size_t slice) const;
  [[nodiscard]] at::Tensor where_ranks_add(const at::Tensor& gradient) const;

  comm::Communicator& ranks_;
  Options options_;
  std::vector<comm::Bounds> bounds_;
  std::vector<comm::TreeSum<at::Tensor, AddTensor>> trees_;
  std::vector<at::Tensor> sums_;
  std::vector<char> started_;
  std::int64_t count_ = 0, own_ = 0, done_ = 0, rounds_ = 0;
  int contributors_ = 1;
  std::int64_t peak_bytes_ = 0;
  bool stays_;                        ///< Whether ranks add on the gradients' device; else they add in the host's memory
  at::TensorOptions tensor_options_;  ///< Device and dtype of the sums
  std::deque<InFlight> in_flight_;    ///< Sums in the order in which they were started
};

}  // namespace dmoerm::train
