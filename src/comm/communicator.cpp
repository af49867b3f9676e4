#include "comm/communicator.h"

#include <algorithm>
#include <chrono>
#include <exception>

namespace dmoerm::comm {

Pending& Pending::operator=(Pending&& other) noexcept {
  if (done_.valid()) done_.wait();
  done_ = std::move(other.done_), waited_ = other.waited_;
  return *this;
}

Pending::~Pending() {
  if (done_.valid()) done_.wait();
}

void Pending::wait() {
  if (!done_.valid()) return;
  const auto start = std::chrono::steady_clock::now();
  done_.wait();
  *waited_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  done_.get();
}

int largest_of(Communicator& group, int here) {
  if (group.size() == 1) return here;
  const std::byte own{static_cast<std::uint8_t>(here)};
  int largest = here;
  for (const auto& bytes : group.all_gather({&own, 1})) largest = std::max(largest, static_cast<int>(bytes.at(0)));
  return largest;
}

Bounds chunks_of_blocks(std::size_t count, int size, std::size_t block) {
  const std::size_t blocks = (count + block - 1) / block, ranks = static_cast<std::size_t>(size);
  Bounds bounds;
  for (std::size_t r = 0; r <= ranks; ++r) bounds.push_back(std::min(count, blocks * r / ranks * block));
  return bounds;
}

void add_as_tree(std::span<std::vector<float>> parts) {
  for (std::size_t step = 1; step < parts.size(); step *= 2) {
    for (std::size_t r = 0; r + step < parts.size(); r += 2 * step) {
      for (std::size_t i = 0; i < parts[r].size(); ++i) parts[r][i] += parts[r + step][i];
    }
  }
}

}  // namespace dmoerm::comm
