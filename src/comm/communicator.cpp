#include "comm/communicator.h"

#include <algorithm>
#include <chrono>
#include <exception>

namespace dmoerm::comm {

Pending& Pending::operator=(Pending&& other) noexcept {
  if (done_.valid()) done_.wait();
  done_ = std::move(other.done_);
  waited_ = other.waited_;
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

std::vector<std::string> Communicator::gather_text(std::string_view text) {
  std::vector<std::string> texts;
  for (const auto& bytes : all_gather(std::as_bytes(std::span(text))))
    texts.emplace_back(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  return texts;
}

int largest_of(Communicator& group, int here) {
  if (group.size() == 1) return here;
  const std::byte own{static_cast<std::uint8_t>(here)};
  int largest = here;
  for (const auto& bytes : group.all_gather({&own, 1})) largest = std::max(largest, static_cast<int>(bytes.at(0)));
  return largest;
}

}  // namespace dmoerm::comm
