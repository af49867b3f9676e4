#include "judge/rate_headers.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstring>

#include "base/text.h"

namespace dmoerm::judge {
namespace {

constexpr double kDurationMax_s = 30 * 86400.0;

bool same_name(std::string_view name, std::string_view lower) {
  return std::equal(name.begin(), name.end(), lower.begin(), lower.end(),
                    [](char a, char b) { return (a >= 'A' && a <= 'Z' ? static_cast<char>(a - 'A' + 'a') : a) == b; });
}

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
  const auto day = parse_int(text.substr(5, 2)), year = parse_int(text.substr(12, 4)), hour = parse_int(text.substr(17, 2)),
             minute = parse_int(text.substr(20, 2)), second = parse_int(text.substr(23, 2));
  if (month == kMonths.end() || !day || !year || !hour || !minute || !second) return std::nullopt;
  const std::chrono::year_month_day date(std::chrono::year(*year),
                                         std::chrono::month(static_cast<unsigned>(month - kMonths.begin()) + 1),
                                         std::chrono::day(static_cast<unsigned>(*day)));
  if (!date.ok() || *day < 1 || *hour < 0 || *hour > 23 || *minute < 0 || *minute > 59 || *second < 0 || *second > 60)
    return std::nullopt;
  return static_cast<double>(std::chrono::sys_days(date).time_since_epoch().count()) * 86400.0 + *hour * 3600 + *minute * 60 +
         *second;
}

std::optional<double> parse_retry_after_s(std::string_view value, std::string_view date) {
  if (const auto seconds = parse_duration_s(value)) return seconds;
  const auto until = parse_http_date(value), now = parse_http_date(date);
  if (!until || !now || *until - *now > kDurationMax_s) return std::nullopt;
  return std::max(0.0, *until - *now);
}

void RateHeaderReader::add(std::string_view name, std::string_view value) {
  value = trim(value);
  if (same_name(name, "retry-after")) return keep(retry_after_, value);
  if (same_name(name, "date")) return keep(date_, value);
  if (same_name(name, "retry-after-ms")) {
    retry_after_ms_ = parse_number(value);
    return;
  }
  if (name.size() < 20 || !same_name(name.substr(0, 12), "x-ratelimit-")) return;
  const std::string_view rest = name.substr(12);
  LimitState* state = nullptr;
  std::string_view field;
  if (rest.size() > 9 && same_name(rest.substr(rest.size() - 9), "-requests")) {
    state = &headers_.requests;
    field = rest.substr(0, rest.size() - 9);
  } else if (rest.size() > 7 && same_name(rest.substr(rest.size() - 7), "-tokens")) {
    state = &headers_.tokens;
    field = rest.substr(0, rest.size() - 7);
  }
  if (!state) return;
  if (same_name(field, "limit")) state->limit = parse_number(value);
  if (same_name(field, "remaining")) state->remaining = parse_number(value);
  if (same_name(field, "reset")) state->reset_s = parse_duration_s(value);
}

RateHeaders RateHeaderReader::get() const {
  RateHeaders headers = headers_;
  if (retry_after_ms_ && *retry_after_ms_ <= kDurationMax_s * 1000) {
    headers.retry_after_s = *retry_after_ms_ / 1000;
  } else if (retry_after_[0]) {
    headers.retry_after_s = parse_retry_after_s(retry_after_, date_);
  }
  return headers;
}

}  // namespace dmoerm::judge
