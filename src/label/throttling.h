// Notices that a judge's server answers nothing but "too many requests".
#pragma once
#include <chrono>
#include <cstdint>
#include <span>
#include <string>

#include "judge/judge.h"

namespace dmoerm::label {

class Throttling {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  static constexpr double kSaidS = 15;      ///< Time of nothing else after which that is said
  static constexpr double kTooLongS = 600;  ///< Time of nothing else after which the quota is probably used up

  explicit Throttling(TimePoint now) : answered_at_(now) {}
  /// An answer came. @param throttled  "too many requests" so far
  void answered(std::int64_t throttled, TimePoint now);
  /// @return what to tell the user, once for each such time; "" if there is nothing to say
  std::string check(std::int64_t throttled, TimePoint now);
  /// Whether the last check() found nothing else for kTooLongS.
  [[nodiscard]] bool too_long() const { return seconds_ >= kTooLongS; }
  /// "all replies for 600 s are "too many requests"".
  [[nodiscard]] std::string text() const;

 private:
  TimePoint answered_at_;
  std::int64_t throttled_then_ = 0;
  double seconds_ = 0;  ///< Time since the last answer, if there was throttling since
  bool said_ = false;
};

/// "; the last: ..." with what each judge's server said to the last request that it throttled; "" if none did.
std::string throttling_problems(std::span<const judge::Judge> judges);

}  // namespace dmoerm::label
