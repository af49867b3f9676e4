// Reads requests of KServe v2.
#pragma once
#include <string_view>

#include "wire/json_part.h"
#include "wire/request.h"

namespace dmoerm::wire {

/// Read an infer request. @param binary  what follows the JSON. @throws RequestError
void read_kserve(const JsonPart& body, std::string_view binary, const Limits& limits, Request& request);

}  // namespace dmoerm::wire
