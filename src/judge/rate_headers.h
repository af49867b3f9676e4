// What a server says about its limits in the headers of a reply. Anything that is not understood is left out, never guessed.
#pragma once
#include <optional>
#include <string_view>

namespace dmoerm::judge {

/// Seconds of "1s", "6m0s", "120ms", "1h2m3.5s", "1d2h" or a bare number of seconds. Nothing for other forms, negative values and
/// more than 30 days.
std::optional<double> parse_duration_s(std::string_view text);

/// Seconds since 1970 of an HTTP date, e.g. "Sun, 06 Nov 1994 08:49:37 GMT" (the one form that servers may send today).
std::optional<double> parse_http_date(std::string_view text);

/// Seconds of a retry-after header: a number, or a date, which is read against the reply's own date header: this machine's wall
/// clock plays no part.
std::optional<double> parse_retry_after_s(std::string_view value, std::string_view date);

/// Of requests or of tokens.
struct LimitState {
  std::optional<double> limit, remaining, reset_s;
};

struct RateHeaders {
  std::optional<double> retry_after_s;
  LimitState requests, tokens;
};

/// Collects the headers of one reply.
class RateHeaderReader {
 public:
  /// Take one header. @param name  in any case
  void add(std::string_view name, std::string_view value);
  /// What they came to.
  [[nodiscard]] RateHeaders get() const;

 private:
  RateHeaders headers_;
  std::optional<double> retry_after_ms_;
  char retry_after_[64] = {}, date_[64] = {};
};

}  // namespace dmoerm::judge
