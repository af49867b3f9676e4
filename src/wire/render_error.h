// Errors in the words of the known protocols.
#pragma once
#include <nlohmann/json.hpp>
#include <string_view>

#include "base/error.h"
#include "wire/request_error.h"

namespace dmoerm::wire {

/// The body of an error, in the words of a family of protocols. Each has the code of dmoerm's errors beside its own keys, as
/// "reason", or as OpenAI's "code" in our own form.
nlohmann::json render_error(Family family, int status, ErrorCode code, std::string_view sentence);

}  // namespace dmoerm::wire
