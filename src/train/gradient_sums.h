// Sums one trainee's gradients over the micro batches of a step and the ranks of its group, part by part, in the tree that gives
// the same bits for any number of ranks.
//
// Whole sums: a rank computes the micro batches of one subtree (comm::micro_batch_range), sums their gradients, and the ranks'
// sums are added once a step; every rank gets all of them. Shards: micro batch t * R + r is rank r's in round t; the R gradients
// of a round, which are an aligned subtree, are added at once, and each rank goes on with its chunk alone, so that no rank ever
// holds a sum of the whole model.
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
    bool shards = false;   ///< a rank receives the sums of its chunks only
    bool overlap = false;  ///< send a part as soon as this rank's last gradient of it is there; for a trainee alone in its group
    at::Device device = at::kCPU;  ///< of the gradients
  };
  /// @param widths  floats of each part, in the order in which a pass completes them
  GradientSums(comm::Communicator& group, const std::vector<std::int64_t>& widths, const Options& options);

  /// Numbers of the micro batches that this rank computes in a step of `micro_batches`.
  [[nodiscard]] std::vector<std::int64_t> numbers(std::int64_t micro_batches) const;
  /// A new step: the trainee has `count` micro batches of the `micro_batches` that its group shares out.
  void begin(std::int64_t count, std::int64_t micro_batches);
  /// The gradient of a part in this rank's next micro batch, flat. May be overwritten after wait_until_unused().
  void add(std::size_t part, const at::Tensor& gradient);
  /// Wait until nothing needs the buffer's content any more.
  void wait_until_unused(const at::Tensor& buffer);
  /// All parts of a micro batch were added.
  void end_micro_batch() { ++done_; }
  /// This rank has no more micro batches: start what is not started.
  void start();
  /// After start(): wait for the sums.
  void finish();
  /// After finish(): the sum of a part, or of this rank's chunk of it. Moved out, so that its memory ends with its use.
  at::Tensor take(std::size_t part) { return std::move(sums_[part]); }

  [[nodiscard]] const comm::Bounds& bounds(std::size_t part) const { return bounds_[part]; }
  /// Most bytes that sums and what arrives for them took so far; not the buffers that were given.
  [[nodiscard]] std::int64_t peak_bytes() const { return peak_bytes_; }

 private:
  struct AddTensor {
    void operator()(at::Tensor& sum, const at::Tensor& more) const { sum.add_(more); }
  };
  struct InFlight {
    std::size_t part = 0;
    at::Tensor gradient, arriving;
    comm::Pending pending;  // last: it waits before the tensors go
  };
  void reduce_gradient(std::size_t part, const at::Tensor& gradient);
  void start_sum(std::size_t part);
  void complete_oldest();
  void note_bytes();
  [[nodiscard]] std::int64_t own_width(std::size_t part) const;
  [[nodiscard]] at::Tensor where_group_adds(const at::Tensor& gradient) const;

  comm::Communicator& group_;
  Options options_;
  std::vector<comm::Bounds> bounds_;
  std::vector<comm::TreeSum<at::Tensor, AddTensor>> trees_;
  std::vector<at::Tensor> sums_;
  std::vector<char> started_;
  std::int64_t count_ = 0, own_ = 0, done_ = 0, rounds_ = 0;
  int contributors_ = 1;
  std::int64_t peak_bytes_ = 0;
  bool stays_;                        ///< sums are made where the gradients lie; else in the host's memory
  at::TensorOptions tensor_options_;  ///< where the group adds
  std::deque<InFlight> in_flight_;    ///< first started first
};

}  // namespace dmoerm::train
