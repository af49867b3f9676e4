#include "comm/activity_board.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <sstream>

#include "base/error.h"

namespace dmoerm::comm {
namespace {

double seconds_between(ActivityBoard::Clock::time_point from, ActivityBoard::Clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

}  // namespace

ActivityBoard& ActivityBoard::of_process() {
  static ActivityBoard board;
  return board;
}

void ActivityBoard::worked(int rank, Clock::time_point at) {
  const std::lock_guard lock(mutex_);
  if (worked_.size() <= static_cast<std::size_t>(rank)) worked_.resize(static_cast<std::size_t>(rank) + 1);
  Clock::time_point& known = worked_[static_cast<std::size_t>(rank)];
  known = std::max(known, at);
}

double ActivityBoard::seconds_since(std::span<const int> ranks) const {
  const std::lock_guard lock(mutex_);
  Clock::time_point last{};
  for (const int rank : ranks) {
    if (static_cast<std::size_t>(rank) < worked_.size()) last = std::max(last, worked_[static_cast<std::size_t>(rank)]);
  }
  return last == Clock::time_point{} ? std::numeric_limits<double>::infinity() : seconds_between(last, Clock::now());
}

std::string ActivityBoard::ages(int world_size) const {
  const std::lock_guard lock(mutex_);
  const auto now = Clock::now();
  std::string text;
  for (std::size_t rank = 0; rank < static_cast<std::size_t>(world_size); ++rank) {
    if (rank > 0) text += ',';
    text += rank < worked_.size() && worked_[rank] != Clock::time_point{}
                ? fmt::format("{:.1f}", seconds_between(worked_[rank], now))
                : "-";
  }
  return text;
}

void ActivityBoard::take_ages(const std::string& text) {
  const auto now = Clock::now();
  std::istringstream ages(text);
  std::string age;
  for (int rank = 0; std::getline(ages, age, ','); ++rank) {
    if (age == "-") continue;
    char* end = nullptr;
    const double seconds = std::strtod(age.c_str(), &end);
    if (end == age.c_str() || *end != 0)
      throw DataError("damaged-heartbeat", fmt::format("a heartbeat with the age \"{}\" of a rank's work", age));
    worked(rank, now - std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds)));
  }
}

}  // namespace dmoerm::comm
