// Text and JSON from a server, made safe to handle and to show.
#pragma once
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace dmoerm::judge {

/// Parse untrusted JSON. @return nothing if it is not JSON or nested deeper than 64: copying and writing a value recurse, and the
/// limit keeps them from overflowing the stack
std::optional<nlohmann::json> parse_json(std::string_view body);

/// Untrusted text, made fit for a log line or message: one line, no control characters, valid UTF-8, at most `bytes_max` bytes.
std::string one_line(std::string_view text, std::size_t bytes_max = 300);

}  // namespace dmoerm::judge
