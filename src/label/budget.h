// Hard limits on what judges may cost. Every request in flight reserves the most that it can cost, so no reply can exceed a
// limit.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "judge/usage.h"

namespace dmoerm::label {

/// One set of limits; 0 = unlimited.
struct SpendLimits {
  std::int64_t cost_micros = 0, requests = 0, tokens = 0;
  std::string source = {};  ///< Setting behind it, for messages: "labels.budget", "--requests-max"
};

class Budget {
 public:
  /// @param spent  what the store has paid so far; it counts against limits of the store, not against those of this run
  explicit Budget(const judge::Usage& spent) : before_(spent) {}
  void limit_store(const SpendLimits& limits) { limits_.push_back({limits, true}); }
  void limit_run(const SpendLimits& limits) { limits_.push_back({limits, false}); }

  /// Reserve the most that a request can cost. @return false, with nothing reserved, if a limit would be exceeded
  bool reserve(const judge::Usage& max_cost);
  /// Reserve the cost of a request that is already sent, even beyond a limit.
  void reserve_paid(const judge::Usage& max_cost) { reserved_ += max_cost; }
  /// Replace a reservation by the real cost.
  void settle(const judge::Usage& max_cost, const judge::Usage& used);
  /// Whether a request would fit if everything in flight turned out to be free. If not, the limit is reached.
  [[nodiscard]] bool affordable(const judge::Usage& max_cost) const { return shortage(max_cost, judge::Usage{}).empty(); }
  /// The limit that forbids a request, with both values; "" if none does.
  [[nodiscard]] std::string shortage(const judge::Usage& max_cost) const { return shortage(max_cost, reserved_); }

  /// Whether a limit depends on how long answers are.
  [[nodiscard]] bool limits_length() const;

  /// Cost of this run so far.
  [[nodiscard]] const judge::Usage& run() const { return run_; }
  [[nodiscard]] const judge::Usage& before() const { return before_; }

 private:
  struct Limit {
    SpendLimits limits;
    bool store;
  };
  [[nodiscard]] std::string shortage(const judge::Usage& max_cost, const judge::Usage& in_flight) const;

  std::vector<Limit> limits_;
  judge::Usage before_, run_, reserved_;
};

/// "0.012345 USD" for 12345 millionths.
std::string money(std::int64_t micros, const std::string& currency);
/// money() of what requests cost; "no price set" for requests that cost nothing because of that. @param priced  whether every
/// judge that is asked has a price
std::string cost_text(const judge::Usage& usage, const std::string& currency, bool priced);

}  // namespace dmoerm::label
