// Reads an answer that came as server-sent events although the request wants no stream. The answer is paid for, so it is used.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string_view>

namespace dmoerm::judge {

/// Whether a body looks like server-sent events.
bool is_stream(std::string_view body);

/// The chat completion that the events of a stream make up, as one body with one choice, or the error report that one of them
/// holds. @return nothing if the stream breaks off before its end, has several choices or is not made of chat completion chunks
std::optional<nlohmann::json> join_stream(std::string_view body);

}  // namespace dmoerm::judge
