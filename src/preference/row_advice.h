// What to do about rows of no known data format.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace dmoerm::preference {

/// What a row of no known format is, with a way to convert it, for a message; "" if that is not known.
std::string known_otherwise(const nlohmann::json& row);

}  // namespace dmoerm::preference
