// Hard limits on what judges may cost. What is in flight is reserved at the most it can cost, so that no reply can exceed a
// limit.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "label_store/columns.h"

namespace dmoerm::label {

/// One set of limits; 0 = none.
struct SpendLimits {
  std::int64_t cost_micros = 0, requests = 0, tokens = 0;
  std::string source = {};  ///< where it was set, for messages: "labels.budget", "--requests-max"
};

class Budget {
 public:
  /// @param spent  what the store has paid so far; counts against limits of the store, not against those of this run
  explicit Budget(const judge::Usage& spent) : before_(spent) {}
  void limit_store(const SpendLimits& limits) { limits_.push_back({limits, true}); }
  void limit_run(const SpendLimits& limits) { limits_.push_back({limits, false}); }

  /// Set aside the most that a request can cost. @return false, with nothing set aside, if a limit would be exceeded
  bool reserve(const judge::Usage& most);
  /// Set aside what is under way already, limit or not.
  void reserve_paid(const judge::Usage& most) { reserved_ += most; }
  /// A reserved request cost `used`.
  void settle(const judge::Usage& most, const judge::Usage& used);
  /// Whether a request would fit even if everything in flight turned out free; false: stop.
  [[nodiscard]] bool affordable(const judge::Usage& most) const { return shortage(most, judge::Usage{}).empty(); }
  /// Which limit keeps a request from being sent, with both values; "" if none does.
  [[nodiscard]] std::string shortage(const judge::Usage& most) const { return shortage(most, reserved_); }

  /// Spent since the start.
  [[nodiscard]] const judge::Usage& run() const { return run_; }
  [[nodiscard]] const judge::Usage& before() const { return before_; }

 private:
  struct Limit {
    SpendLimits limits;
    bool store;
  };
  [[nodiscard]] std::string shortage(const judge::Usage& most, const judge::Usage& in_flight) const;

  std::vector<Limit> limits_;
  judge::Usage before_, run_, reserved_;
};

/// "0.012345 USD" of millionths.
std::string money(std::int64_t micros, const std::string& currency);

}  // namespace dmoerm::label
