// Text and JSON from a server, made safe to handle and to show.
#pragma once
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace dmoerm::judge {

/// Parse untrusted JSON. The numbers NaN, Infinity and -Infinity, which are none but written by Python, are read as null.
/// @return nothing if it is not JSON or nested deeper than 64: copying and writing a value recurse, and the limit keeps them from
/// overflowing the stack
std::optional<nlohmann::json> parse_json(std::string_view body);

/// The character that stands for bytes that are no UTF-8: U+FFFD.
inline constexpr std::string_view kReplacement = "\xef\xbf\xbd";
/// A text with kReplacement for each byte that is no UTF-8.
std::string as_utf8(std::string_view text);

/// Member `name` of an object; null if there is none or `value` is not an object.
const nlohmann::json& member(const nlohmann::json& value, const char* name);

/// Whether a text holds any of some words.
bool holds_any(std::string_view text, std::initializer_list<const char*> words);

/// Untrusted text, made fit for a log line or message: one line, no control characters, valid UTF-8, at most `bytes_max` bytes.
std::string one_line(std::string_view text, std::size_t bytes_max = 300);

}  // namespace dmoerm::judge
