#include "label/throttling.h"

#include <fmt/format.h>

namespace dmoerm::label {

void Throttling::answered(std::int64_t throttled, TimePoint now) {
  answered_at_ = now;
  throttled_then_ = throttled;
  seconds_ = 0;
  said_ = false;
}

std::string Throttling::check(std::int64_t throttled, TimePoint now) {
  seconds_ = throttled > throttled_then_ ? std::chrono::duration<double>(now - answered_at_).count() : 0;
  if (said_ || seconds_ < kSaidS) return "";
  said_ = true;
  return text();
}

std::string Throttling::text() const { return fmt::format("all replies for {:.0f} s are \"too many requests\"", seconds_); }

std::string throttling_problems(std::span<const judge::Judge> judges) {
  std::string problems;
  for (const judge::Judge& judge : judges) {
    if (const auto stats = judge.backend->stats(); stats.throttled > 0) problems += "; the last: " + stats.throttled_problem;
  }
  return problems;
}

}  // namespace dmoerm::label
