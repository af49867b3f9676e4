// Reads JSON by simdjson, which takes a fraction of the time of the parser that can say what is wrong with a text.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

namespace dmoerm::preference {

/// The value of a JSON text of at most 1 MiB, as nlohmann's parser gives it. Nothing if the text is longer, is no JSON, has a key
/// twice in one object or `depth_max` values within each other: the other parser then has the last word. On any thread.
std::optional<nlohmann::json> fast_json(const std::string& text, int depth_max);

}  // namespace dmoerm::preference
