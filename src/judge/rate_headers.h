// Reads a server's limits from the headers of a reply. Values that are not understood are ignored.
#pragma once
#include <array>
#include <cstddef>
#include <optional>
#include <string_view>

namespace dmoerm::judge {

/// Seconds of "1s", "6m0s", "120ms", "1h2m3.5s", "1d2h" or a number of seconds. Nothing for anything else, negative values and
/// more than 30 days.
std::optional<double> parse_duration_s(std::string_view text);

/// Seconds since 1970 of an HTTP date, e.g. "Sun, 06 Nov 1994 08:49:37 GMT" (the only form that servers may still send).
std::optional<double> parse_http_date(std::string_view text);

/// Seconds since 1970 of a time such as "2026-01-31T12:00:00.5Z" or "2026-01-31T12:00:00+01:00"; in UTC if it does not say.
std::optional<double> parse_iso_time(std::string_view text);

/// Seconds of a header that says how long to wait: as parse_duration_s(), "3 seconds", or a point in time (an HTTP date, an ISO
/// time, seconds or milliseconds since 1970) relative to the reply's own date header, so that this machine's clock does not
/// matter. Of several waits with commas between them the longest counts.
std::optional<double> parse_retry_after_s(std::string_view value, std::string_view date);

/// State of a limit of requests or tokens.
struct LimitState {
  std::optional<double> limit, remaining, reset_s;
};

struct RateHeaders {
  std::optional<double> retry_after_s;  ///< Where no retry-after says it: the reset of a limit that is used up, or says no more
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
  /// The places of requests and tokens in the table of kinds, and that of limits whose kind is not said.
  static constexpr std::size_t kRequests = 0, kTokens = 3, kPlain = 4, kLimits = 5;
  struct Limit {
    LimitState state;
    char reset[64] = {};
  };
  /// The limit that a header's name is about, without its prefix; the limit's kind is cut off the name.
  Limit& limit_named(std::string_view& rest);

  std::array<Limit, kLimits> limits_;
  std::optional<double> retry_after_ms_;
  char retry_after_[64] = {}, date_[64] = {};
};

}  // namespace dmoerm::judge
