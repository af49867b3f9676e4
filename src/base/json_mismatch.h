// Why a JSON value is not the one that its reader expected.
#pragma once
#include <nlohmann/json.hpp>
#include <string>

namespace dmoerm {

/// What a value has that its reader did not expect, from an exception that reading it raised. Without the library's words.
std::string json_mismatch(const nlohmann::json::exception& error);

}  // namespace dmoerm
