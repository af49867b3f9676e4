// When the ranks of the world were last seen to work. The heartbeat writes it; collectives that wait long read it.
#pragma once
#include <chrono>
#include <mutex>
#include <span>
#include <string>
#include <vector>

namespace dmoerm::comm {

/// One board for the process.
class ActivityBoard {
 public:
  using Clock = std::chrono::steady_clock;
  static ActivityBoard& of_process();

  /// A rank's work went on at this time.
  void worked(int rank, Clock::time_point at);
  /// Seconds since one of these ranks worked, as far as is known; infinity if nothing is known.
  [[nodiscard]] double seconds_since(std::span<const int> ranks) const;

  /// Seconds since each rank of a world worked, as text for others: "0.5,-,12.0"; "-" = not known.
  [[nodiscard]] std::string ages(int world_size) const;
  /// Take over such a text. @throws DataError if it is none
  void take_ages(const std::string& text);

 private:
  mutable std::mutex mutex_;
  std::vector<Clock::time_point> worked_;  ///< By rank; the epoch = never
};

}  // namespace dmoerm::comm
