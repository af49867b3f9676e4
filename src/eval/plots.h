// The pictures of an evaluation.
#pragma once
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace dmoerm::eval {

/// SVG pictures by file name: accuracy by category, reliability, length. A picture without data is left out.
/// @param result  what evaluate() made
std::map<std::string, std::string> plots_of(const nlohmann::json& result);

}  // namespace dmoerm::eval
