// The tables of an evaluation, in Markdown.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace dmoerm::eval {

/// The page that `dmoerm eval` prints. @param result  what evaluate() made
std::string report_text(const nlohmann::json& result);

}  // namespace dmoerm::eval
