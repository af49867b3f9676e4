// Reads a server's limits from the headers of a reply. Values that are not understood are ignored.
#pragma once
#include <optional>
#include <string_view>

namespace dmoerm::judge {

/// Seconds of "1s", "6m0s", "120ms", "1h2m3.5s", "1d2h" or a number of seconds. Nothing for anything else, negative values and
/// more than 30 days.
std::optional<double> parse_duration_s(std::string_view text);

/// Seconds since 1970 of an HTTP date, e.g. "Sun, 06 Nov 1994 08:49:37 GMT" (the only form that servers may still send).
std::optional<double> parse_http_date(std::string_view text);

/// Seconds of a retry-after header: a number, or a date relative to the reply's own date header, so that this machine's clock
/// does not matter.
std::optional<double> parse_retry_after_s(std::string_view value, std::string_view date);

/// State of a limit of requests or tokens.
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
  /// Take one header. @param name  its name, in upper or lower case
  void add(std::string_view name, std::string_view value);
  /// The collected values.
  [[nodiscard]] RateHeaders get() const;

 private:
  RateHeaders headers_;
  std::optional<double> retry_after_ms_;
  char retry_after_[64] = {}, date_[64] = {};
};

}  // namespace dmoerm::judge
