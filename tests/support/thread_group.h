// Threads of one process as the ranks of a group: collectives through shared memory, for tests of training on several ranks.
#pragma once
#include <gtest/gtest.h>

#include <barrier>
#include <exception>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "base/error.h"
#include "comm/communicator.h"
#include "comm/tree_sum.h"
#include "support/recursive_sum.h"

namespace dmoerm::test {

/// What the ranks share. A rank that leaves with an exception drops out, so that the others' next collective fails instead of
/// waiting.
struct ThreadMeeting {
  explicit ThreadMeeting(int ranks) : point(ranks), given(static_cast<std::size_t>(ranks)) {}
  std::barrier<> point;
  std::vector<std::span<const std::byte>> given;  ///< by rank, while all look at them
  std::atomic<bool> left = false;
};

class ThreadCommunicator final : public comm::Communicator {
 public:
  ThreadCommunicator(ThreadMeeting& meeting, int rank) : meeting_(meeting), rank_(rank) {}
  [[nodiscard]] int rank() const override { return rank_; }
  [[nodiscard]] int size() const override { return static_cast<int>(meeting_.given.size()); }

  comm::Pending start_tree_sum(std::span<float> values, int contributors) override {
    const comm::Bounds bounds = comm::chunks_of_blocks(values.size(), size(), 1);
    std::vector<float> own(chunk(bounds, rank_).second);
    start_reduce_scatter(values, bounds, contributors, own);
    std::ranges::copy(own, values.begin() + static_cast<std::ptrdiff_t>(chunk(bounds, rank_).first));
    return start_all_gather(values, bounds);
  }
  comm::Pending start_reduce_scatter(std::span<const float> values, const comm::Bounds& bounds, int contributors,
                                     std::span<float> own) override {
    exchange(std::as_bytes(values), [&] {
      std::vector<std::vector<float>> parts;
      for (int r = 0; r < contributors; ++r) {
        const auto* from = reinterpret_cast<const float*>(given(r).data()) + chunk(bounds, rank_).first;
        parts.emplace_back(from, from + own.size());
      }
      std::ranges::copy(recursive_sum(parts), own.begin());
    });
    bytes_ += values.size_bytes();
    return {};
  }
  comm::Pending start_all_gather(std::span<float> values, const comm::Bounds& bounds) override {
    std::vector<float> all(values.size());
    exchange(std::as_bytes(values), [&] {
      for (int r = 0; r < size(); ++r) {
        const auto [first, count] = chunk(bounds, r);
        std::copy_n(reinterpret_cast<const float*>(given(r).data()) + first, count,
                    all.begin() + static_cast<std::ptrdiff_t>(first));
      }
    });
    std::ranges::copy(all, values.begin());
    return {};
  }
  void broadcast(std::span<std::byte> bytes, int root) override {
    std::vector<std::byte> copy(bytes.size());
    exchange(bytes, [&] { std::ranges::copy(given(root), copy.begin()); });
    std::ranges::copy(copy, bytes.begin());
  }
  std::vector<std::vector<std::byte>> all_gather(std::span<const std::byte> bytes) override {
    std::vector<std::vector<std::byte>> all;
    exchange(bytes, [&] {
      for (int r = 0; r < size(); ++r) all.emplace_back(given(r).begin(), given(r).end());
    });
    return all;
  }
  void barrier() override {
    exchange({}, [] {});
  }
  void limit_waits(double /*seconds*/) override {}
  [[nodiscard]] double limit_s() const override { return 600; }
  [[nodiscard]] bool too_long(double waited_s) const override { return waited_s > limit_s(); }
  [[nodiscard]] bool given_up() const override { return false; }
  void break_when(const std::atomic<bool>& /*given_up*/) override {}
  void use_wire(comm::Wire /*wire*/) override {}
  [[nodiscard]] comm::Traffic traffic() const override { return {0, bytes_}; }

 private:
  static std::pair<std::size_t, std::size_t> chunk(const comm::Bounds& bounds, int r) {
    const auto i = static_cast<std::size_t>(r);
    return {bounds[i], bounds[i + 1] - bounds[i]};
  }
  [[nodiscard]] std::span<const std::byte> given(int r) const { return meeting_.given[static_cast<std::size_t>(r)]; }
  template <class Look>
  void exchange(std::span<const std::byte> own, const Look& look) {
    meeting_.given[static_cast<std::size_t>(rank_)] = own;
    meeting_.point.arrive_and_wait();
    if (meeting_.left) throw CommError("a rank of the test left the group");
    look();
    meeting_.point.arrive_and_wait();
  }

  ThreadMeeting& meeting_;
  int rank_;
  std::uint64_t bytes_ = 0;
};

/// Runs `work` on every rank of a group of `ranks` threads; throws what the lowest rank that failed threw.
inline void on_ranks(int ranks, const std::function<void(comm::Communicator& group)>& work) {
  ThreadMeeting meeting(ranks);
  std::vector<std::exception_ptr> thrown(static_cast<std::size_t>(ranks));
  std::vector<std::thread> threads;
  for (int r = 0; r < ranks; ++r) {
    threads.emplace_back([&, r] {
      ThreadCommunicator group(meeting, r);
      try {
        work(group);
      } catch (...) {
        thrown[static_cast<std::size_t>(r)] = std::current_exception();
        meeting.left = true;
      }
      meeting.point.arrive_and_drop();
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::exception_ptr& failure : thrown) {
    if (failure) std::rethrow_exception(failure);
  }
}

}  // namespace dmoerm::test
