// JSON as text that can always be written.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace dmoerm {

/// The value as compact JSON on one line, without a line end. Each byte that is not valid UTF-8 becomes U+FFFD.
std::string json_line(const nlohmann::json& value);

}  // namespace dmoerm
