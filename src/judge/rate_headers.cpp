#include "judge/rate_headers.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstring>
#include <string>
#include <utility>

#include "base/text.h"

namespace dmoerm::judge {
namespace {

constexpr double kDurationMax_s = 30 * 86400.0;

/// Remove a plain decimal number from the start of `text`.
std::optional<double> take_number(std::string_view& text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, std::chars_format::fixed);
  if (error != std::errc() || !std::isfinite(value) || value < 0 || text.front() == '-') return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return value;
}

std::optional<double> parse_number(std::string_view text) {
  text = trim(text);
  const auto value = text.empty() ? std::nullopt : take_number(text);
  return text.empty() ? value : std::nullopt;
}

std::optional<int> parse_int(std::string_view text) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() ? std::optional(value) : std::nullopt;
}

/// Date and time of day.
struct Moment {
  std::optional<int> year, month, day, hour, minute, second;
};

/// Seconds since 1970 in UTC; nothing if a part is missing or out of range.
std::optional<double> seconds_at(const Moment& at) {
  if (!at.year || !at.month || !at.day || !at.hour || !at.minute || !at.second) return std::nullopt;
  if (*at.month < 1 || *at.day < 1) return std::nullopt;
  const std::chrono::year_month_day date(std::chrono::year(*at.year), std::chrono::month(static_cast<unsigned>(*at.month)),
                                         std::chrono::day(static_cast<unsigned>(*at.day)));
  const auto within = [](int value, int last) { return value >= 0 && value <= last; };
  if (!date.ok() || !within(*at.hour, 23) || !within(*at.minute, 59) || !within(*at.second, 60)) return std::nullopt;
  return static_cast<double>(std::chrono::sys_days(date).time_since_epoch().count()) * 86400.0 + *at.hour * 3600 +
         *at.minute * 60 + *at.second;
}

/// Seconds since 1970 of a date, or of such a number of seconds or milliseconds.
std::optional<double> parse_time(std::string_view text) {
  constexpr double kSecondsMin = 1e9, kMillisecondsMin = 1e12;  // both are in 2001
  if (const auto number = parse_number(text); number && *number >= kSecondsMin)
    return *number >= kMillisecondsMin ? *number / 1000 : *number;
  const auto date = parse_http_date(text);
  return date ? date : parse_iso_time(text);
}

/// Seconds of "3 seconds", "1 minute" and the like.
std::optional<double> parse_words_s(std::string_view text) {
  const auto number = text.empty() ? std::nullopt : take_number(text);
  if (!number) return std::nullopt;
  const std::string unit = lower(trim(text));
  constexpr std::array<std::pair<std::string_view, double>, 18> kUnits = {{{"s", 1},
                                                                           {"sec", 1},
                                                                           {"secs", 1},
                                                                           {"second", 1},
                                                                           {"seconds", 1},
                                                                           {"ms", 1e-3},
                                                                           {"millisecond", 1e-3},
                                                                           {"milliseconds", 1e-3},
                                                                           {"m", 60},
                                                                           {"min", 60},
                                                                           {"mins", 60},
                                                                           {"minute", 60},
                                                                           {"minutes", 60},
                                                                           {"h", 3600},
                                                                           {"hour", 3600},
                                                                           {"hours", 3600},
                                                                           {"day", 86400},
                                                                           {"days", 86400}}};
  const auto found = std::ranges::find(kUnits, unit, &std::pair<std::string_view, double>::first);
  if (found == kUnits.end() || *number * found->second > kDurationMax_s) return std::nullopt;
  return *number * found->second;
}

void keep(char (&place)[64], std::string_view value) {
  value = value.substr(0, sizeof place - 1);
  std::memcpy(place, value.data(), value.size());
  place[value.size()] = 0;
}

}  // namespace

std::optional<double> parse_duration_s(std::string_view text) {
  text = trim(text);
  if (text.empty()) return std::nullopt;
  double total = 0;
  for (bool first = true; !text.empty(); first = false) {
    const auto value = take_number(text);
    if (!value) return std::nullopt;
    const std::size_t letters = std::min(text.find_first_of("0123456789.-+ "), text.size());
    const std::string_view unit = text.substr(0, letters);
    text.remove_prefix(letters);
    if (unit.empty() && first && text.empty()) {
      total = *value;
    } else if (unit == "ms") {
      total += *value / 1000;
    } else if (unit == "s") {
      total += *value;
    } else if (unit == "m") {
      total += *value * 60;
    } else if (unit == "h") {
      total += *value * 3600;
    } else if (unit == "d") {
      total += *value * 86400;
    } else {
      return std::nullopt;
    }
  }
  return total <= kDurationMax_s ? std::optional(total) : std::nullopt;
}

std::optional<double> parse_http_date(std::string_view text) {
  text = trim(text);
  if (text.size() != 29 || text.substr(3, 2) != ", " || text.substr(25) != " GMT" || text[19] != ':' || text[22] != ':')
    return std::nullopt;
  constexpr std::array kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const auto month = std::find(kMonths.begin(), kMonths.end(), text.substr(8, 3));
  if (month == kMonths.end()) return std::nullopt;
  return seconds_at({parse_int(text.substr(12, 4)), static_cast<int>(month - kMonths.begin()) + 1, parse_int(text.substr(5, 2)),
                     parse_int(text.substr(17, 2)), parse_int(text.substr(20, 2)), parse_int(text.substr(23, 2))});
}

std::optional<double> parse_iso_time(std::string_view text) {
  text = trim(text);
  if (text.size() < 19 || text[4] != '-' || text[7] != '-' || (text[10] != 'T' && text[10] != ' ') || text[13] != ':' ||
      text[16] != ':')
    return std::nullopt;
  auto seconds = seconds_at({parse_int(text.substr(0, 4)), parse_int(text.substr(5, 2)), parse_int(text.substr(8, 2)),
                             parse_int(text.substr(11, 2)), parse_int(text.substr(14, 2)), parse_int(text.substr(17, 2))});
  text.remove_prefix(19);
  if (!seconds) return std::nullopt;
  if (text.starts_with('.')) {
    const auto fraction = take_number(text);
    if (!fraction) return std::nullopt;
    *seconds += *fraction;
  }
  if (text.empty() || text == "Z") return seconds;
  if (text.size() != 6 || (text[0] != '+' && text[0] != '-') || text[3] != ':') return std::nullopt;
  const auto hours = parse_int(text.substr(1, 2)), minutes = parse_int(text.substr(4, 2));
  if (!hours || !minutes) return std::nullopt;
  return *seconds - (text[0] == '+' ? 60.0 : -60.0) * (*hours * 60 + *minutes);
}

std::optional<double> parse_retry_after_s(std::string_view value, std::string_view date) {
  value = trim(value);
  if (const auto seconds = parse_duration_s(value)) return seconds;
  if (const auto seconds = parse_words_s(value)) return seconds;
  const auto now = parse_http_date(date);
  if (const auto until = parse_time(value)) {
    if (!now || *until - *now > kDurationMax_s) return std::nullopt;
    return std::max(0.0, *until - *now);
  }
  const std::size_t comma = value.find(',');  // proxies join what each of them says
  if (comma == std::string_view::npos) return std::nullopt;
  const auto one = parse_duration_s(value.substr(0, comma)), others = parse_retry_after_s(value.substr(comma + 1), date);
  return one && others ? std::optional(std::max(*one, *others)) : std::nullopt;
}

RateHeaderReader::Limit& RateHeaderReader::limit_named(std::string_view& rest) {
  constexpr std::array<std::string_view, kLimits - 1> kKinds = {"requests", "input-tokens", "output-tokens", "tokens"};
  for (std::size_t i = 0; i < kKinds.size(); ++i) {
    const std::string_view kind = kKinds[i];
    if (rest.size() <= kind.size() + 1) continue;
    if (rest.ends_with(kind) && rest[rest.size() - kind.size() - 1] == '-') {
      rest.remove_suffix(kind.size() + 1);
      return limits_[i];
    }
    if (rest.starts_with(kind) && rest[kind.size()] == '-') {
      rest.remove_prefix(kind.size() + 1);
      return limits_[i];
    }
  }
  return limits_[kPlain];
}

void RateHeaderReader::add(std::string_view name, std::string_view value) {
  value = trim(value);
  const std::string known = lower(name);
  if (known == "retry-after") return keep(retry_after_, value);
  if (known == "date") return keep(date_, value);
  if (known == "retry-after-ms" || known == "x-ms-retry-after-ms") {
    retry_after_ms_ = parse_number(value);
    return;
  }
  for (const std::string_view prefix : {"x-ratelimit-", "anthropic-ratelimit-", "x-rate-limit-", "ratelimit-"}) {
    if (!known.starts_with(prefix)) continue;
    std::string_view field = std::string_view(known).substr(prefix.size());
    Limit& limit = limit_named(field);
    if (field == "limit") limit.state.limit = parse_number(value);
    if (field == "remaining") limit.state.remaining = parse_number(value);
    if (field == "reset" || field == "reset-after") keep(limit.reset, value);
  }
}

RateHeaders RateHeaderReader::get() const {
  RateHeaders headers;
  std::optional<double> reset_s;
  for (std::size_t i = 0; i < kLimits; ++i) {
    LimitState state = limits_[i].state;
    state.reset_s = parse_retry_after_s(limits_[i].reset, date_);
    if (i == kRequests) headers.requests = state;
    if (i == kTokens) headers.tokens = state;
    const bool held = state.remaining && (i == kRequests || i == kTokens);  // the gate waits for these
    if (state.reset_s && !held && state.remaining.value_or(0) < 1) reset_s = std::max(reset_s.value_or(0), *state.reset_s);
  }
  if (retry_after_ms_ && *retry_after_ms_ <= kDurationMax_s * 1000) {
    headers.retry_after_s = *retry_after_ms_ / 1000;
  } else if (retry_after_[0]) {
    headers.retry_after_s = parse_retry_after_s(retry_after_, date_);
  }
  if (!headers.retry_after_s) headers.retry_after_s = reset_s;
  return headers;
}

}  // namespace dmoerm::judge
