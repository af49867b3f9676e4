// Reads requests from the JSON bodies of the known protocols.
#pragma once
#include <cstddef>
#include <optional>
#include <string_view>

#include "wire/endpoint.h"
#include "wire/request.h"

namespace dmoerm::wire {

/// Read a request.
/// @param body         the whole body
/// @param json_length  KServe: bytes of the body that are JSON, by the header Inference-Header-Content-Length; binary tensors
///                     follow them. Nothing = all of it
/// @throws RequestError with the status 400, 413 or 422
Request parse(const Endpoint& endpoint, std::string_view body, const Limits& limits,
              std::optional<std::size_t> json_length = std::nullopt);

}  // namespace dmoerm::wire
