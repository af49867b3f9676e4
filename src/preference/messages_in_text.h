// Conversations that a row holds as text: JSON inside a string, as tables saved to CSV have it, or a Python list printed as text.
#pragma once
#include <nlohmann/json_fwd.hpp>

namespace dmoerm::preference {

/// Deepest nesting of JSON that is read.
inline constexpr int kDepthMax = 64;

/// Replace the texts of a row's prompts, responses and conversations that are wholly JSON messages, {"role", "content"} or
/// {"from", "value"} or a list of such objects, by what they say. A text that only contains JSON, and other JSON, stay texts.
/// @throws RowError for messages that Python printed, and for messages in damaged or truncated JSON
void unpack_messages(nlohmann::json& row);

}  // namespace dmoerm::preference
